# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Checks that an optional library is installed."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import CommandError


def require(option: str, module: str, extra: str) -> None:
    """Check before a long run that a module can be imported, without importing it.

    :raises CommandError: if it cannot; it says how to install the extra.
    """
    try:
        found = find_spec(module) is not None
    except ValueError:  # sys.modules has None for it
        found = False
    if not found:
        raise CommandError(f'{option} needs {module}: pip install "pyro-hypergeo[{extra}]"')
