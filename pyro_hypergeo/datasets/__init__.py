# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Small real tables as CSV files. The README.md in this folder names their sources."""

from importlib.resources import files
from pathlib import Path

__all__ = ["path"]


def path(name: str) -> Path:
    """Return the path of a table.

    >>> import csv
    >>> with path("titanic.csv").open(newline="") as file:
    ...     rows = list(csv.DictReader(file))
    >>> rows[0]
    {'group': '1st', 'size': '180', 'drawn': '62', 'stratum': 'Male'}
    >>> sum(int(row["size"]) for row in rows), sum(int(row["drawn"]) for row in rows)
    (2201, 711)

    :param str name: name of the file, for example ``"titanic.csv"``.
    :return: its path.
    :raises FileNotFoundError: if there is no such table; the message lists all tables.
    """
    table = Path(str(files(__name__) / name))
    if not table.is_file():
        tables = ", ".join(sorted(file.name for file in table.parent.glob("*.csv")))
        raise FileNotFoundError(f"no data set {name!r}; there are: {tables}")
    return table
