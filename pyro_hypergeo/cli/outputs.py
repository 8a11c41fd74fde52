# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The files that the command writes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CommandError
from .extras import require
from .netcdf import require_arviz
from .plot import PLOT_FORMATS


def check_outputs(options: argparse.Namespace) -> None:
    """Check before a long run that all files can be written.

    :raises CommandError: if one cannot.
    """
    if options.plot is not None:
        if options.plot.suffix.lower() not in PLOT_FORMATS:
            raise CommandError(
                f"--plot {options.plot}: expected a name that ends in .png, .pdf or .svg"
            )
        require("--plot", "matplotlib", "plot")
    if options.check is not None:
        if options.check.suffix.lower() != ".png":
            raise CommandError(f"--check {options.check}: expected a name that ends in .png")
        require("--check", "matplotlib", "plot")
    if options.netcdf is not None:
        require_arviz()
    for option in ("plot", "check", "json", "netcdf"):
        if getattr(options, option) is not None:
            _check_writable(f"--{option}", getattr(options, option))


def _check_writable(option: str, path: Path) -> None:
    # Try to open the file. Permissions alone do not tell: the disk may be full, the mount may be
    # read-only, or the user may be root.
    try:
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} {path}: {getattr(error, 'strerror', error)}") from None


@contextmanager
def writing() -> Iterator[None]:
    """Turn errors of the disk into errors of the command."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None


def save_json(numbers: dict[str, Any], path: Path) -> None:
    """Write numbers as JSON."""
    text = json.dumps(numbers, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
