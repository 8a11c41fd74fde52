# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The oldest versions that pyproject.toml allows, as constraints for pip: `make test-min`.

It runs before anything is installed, on Python 3.10, which reads no TOML: hence the pattern.
"""

import re
import sys
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lower_bounds(text: str) -> list[str]:
    """`name==version` of every requirement of the form "name>=version"."""
    return [f"{name}=={bound}" for name, bound in re.findall(r'"([\w.-]+)>=([\w.]+)"', text)]


if __name__ == "__main__":
    if sys.version_info >= (3, 12):
        sys.exit("The oldest numpy needs Python 3.10 or 3.11: make test-min PYTHON=python3.10")
    print("\n".join(lower_bounds(PYPROJECT.read_text(encoding="utf-8"))))
