"""Placeholder until the check is merged."""


def check_existence(*args: object) -> None:
    """Nothing yet."""
