# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""P-values of scores from permuted labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...distributions.arrays import as_tensor
from ...ops.law import Law
from .prediction import mean_counts
from .rows import Rows


def permutation_test(
    law: Law,
    rows: Rows,
    permute: Callable[[np.random.Generator], Any],
    number: int,
    seed: int,
) -> Tensor:
    """The p-values of :meth:`RegressionFit.permutation_test`, (p,)."""
    if number < 1:
        raise ValueError(f"Expected `number` to be at least 1, but got {number}.")
    null = mean_counts(law, rows, rows.design.new_zeros(rows.design.shape[1]))
    away = rows.counts - null
    observed = (away @ rows.design).abs()
    generator = np.random.default_rng(seed)
    as_large = torch.ones_like(observed)
    for _ in range(number):
        design = as_tensor(permute(generator), name="permute(generator)").double()
        design = design.reshape(len(design), -1)
        if design.shape != rows.design.shape:
            raise ValueError(
                f"Expected `permute` to return a design of shape {tuple(rows.design.shape)}, but "
                f"got {tuple(design.shape)}."
            )
        if not design.isfinite().all():
            raise ValueError("Expected `permute` to return a finite design, but found nan or inf.")
        # Equal up to rounding is as large.
        as_large += (away @ design).abs() >= observed * (1 - 1e-12)
    return as_large / (number + 1)
