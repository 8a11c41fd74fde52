# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Optional libraries, asked for by name."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import CommandError


def require(option: str, module: str, extra: str) -> None:
    """Asks for a module without importing it, so that a long run is not in vain."""
    try:
        found = find_spec(module) is not None
    except ValueError:  # it stands in sys.modules as None
        found = False
    if not found:
        raise CommandError(f'{option} needs {module}: pip install "pyro-hypergeo[{extra}]"')
