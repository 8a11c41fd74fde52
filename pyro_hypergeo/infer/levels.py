# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Levels of confidence intervals."""

from __future__ import annotations

import torch


def check_level(level: float) -> None:
    """Check a level.

    :raises ValueError: if it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"Expected `level` between 0 and 1, but got {level}.")


def reach(level: float) -> float:
    """How many standard errors an interval reaches to each side.

    >>> from pyro_hypergeo.infer.levels import reach
    >>> round(reach(0.95), 4)
    1.96

    :raises ValueError: if the level is not between 0 and 1.
    """
    check_level(level)
    return float(-torch.special.ndtri(torch.tensor((1 - level) / 2, dtype=torch.float64)))
