# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The rows of a long table as tensors, checked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...distributions.arrays import Numbers, as_tensor
from ...ops.errors import check, shown


class Rows(NamedTuple):
    """N rows with p covariates. All tensors but the strata are float64."""

    design: Tensor  # (N, p)
    counts: Tensor  # (N,)
    sizes: Tensor  # (N,), 0 for a structural zero
    offset: Tensor  # (N,), finite
    strata: Tensor  # (N,), int64: the number of the stratum
    labels: list[Any]  # one for each stratum, in order of appearance
    names: tuple[str, ...]  # p of them


def checked_rows(
    design: Numbers,
    counts: Numbers,
    strata: Any = None,
    group_sizes: Numbers | None = None,
    offset: Numbers | None = None,
    names: Sequence[str] | None = None,
) -> Rows:
    """Convert and check the arguments of :func:`~pyro_hypergeo.fit_regression`.

    :raises ValueError: if an argument has a wrong shape or a value that is not allowed.
    """
    x = as_tensor(design, name="design").detach().double()
    if x.dim() == 1:
        x = x.unsqueeze(-1)
    if x.dim() != 2 or 0 in x.shape:
        raise ValueError(
            f"Expected `design` of shape (rows, covariates), not empty, but got {tuple(x.shape)}."
        )
    known = _names(names, design, x.shape[1])
    if not x.isfinite().all():
        row, column = (~x.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `design` of shape {tuple(x.shape)} to be finite, but found "
            f"{shown(x[row, column])} in row {row}, covariate {known[column]!r}. Leave such rows "
            "out, or fill them in."
        )
    drawn = _column("counts", counts, len(x))
    sizes = (
        torch.ones_like(drawn)
        if group_sizes is None
        else _column("group_sizes", group_sizes, len(x))
    )
    for name, values in (("counts", drawn), ("group_sizes", sizes)):
        check(name, values, (values >= 0) & (values % 1 == 0), "integers that are not negative")
    if not (drawn <= sizes).all():
        row = int((drawn > sizes).nonzero()[0])
        default = "" if group_sizes is not None else " (1 for each row, since none are given)"
        raise ValueError(
            f"Expected `counts` of shape {tuple(drawn.shape)} to be at most the `group_sizes`"
            f"{default}, but found {drawn[row]:g} of {sizes[row]:g} in row {row}."
        )
    shift = torch.zeros_like(drawn) if offset is None else _column("offset", offset, len(x))
    check("offset", shift, shift < torch.inf, "real or -inf, the logarithm of a zero weight")
    never = shift == -torch.inf
    if (drawn[never] > 0).any():
        row = int((never & (drawn > 0)).nonzero()[0])
        raise ValueError(
            f"Expected `counts` to be 0 where the `offset` is -inf, since the weight is 0, but "
            f"found {drawn[row]:g} in row {row}."
        )
    number, labels = numbered(strata, len(x))
    return Rows(
        x,
        drawn,
        torch.where(never, 0.0, sizes),
        torch.where(never, 0.0, shift),
        number,
        labels,
        known,
    )


def _column(name: str, values: Numbers, rows: int) -> Tensor:
    column = as_tensor(values, name=name).detach().double()
    if column.dim() == 2 and column.shape[1] == 1:
        column = column.squeeze(1)
    if column.shape != (rows,):
        raise ValueError(
            f"Expected `{name}` of shape ({rows},), one for each row of `design`, but got "
            f"{tuple(column.shape)}."
        )
    check(name, column, ~column.isnan(), "a number in every row")
    return column


def _names(names: Sequence[str] | None, design: Any, number: int) -> tuple[str, ...]:
    if names is None and hasattr(design, "to_numpy"):
        columns = getattr(design, "columns", None)
        names = [design.name] if columns is None else list(columns)
        names = [str(name) for name in names]
    if names is None:
        return tuple(f"x{index + 1}" for index in range(number))
    found = tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"Expected `names` to be {number} texts, but got {names!r}.")
    if len(found) != number or len(set(found)) != number:
        raise ValueError(
            f"Expected `names` to be {number} different names, one for each covariate, but got "
            f"{list(found)}."
        )
    return found


def numbered(strata: Any, rows: int, name: str = "strata") -> tuple[Tensor, list[Any]]:
    """The number of each row's stratum, in order of appearance, and the labels."""
    if strata is None:
        return torch.zeros(rows, dtype=torch.long), [None]
    if torch.is_tensor(strata):
        strata = strata.detach().cpu().numpy()
    elif hasattr(strata, "to_numpy"):
        strata = strata.to_numpy()
    labels = list(strata)
    if len(labels) != rows or getattr(strata, "ndim", 1) != 1:
        raise ValueError(
            f"Expected `{name}` to be {rows} labels, one for each row of `design`, but got "
            f"{len(labels)}."
        )
    if isinstance(strata, np.ndarray) and strata.dtype.kind in "iub":
        values, first, inverse = np.unique(strata, return_index=True, return_inverse=True)
        rank = np.empty(len(values), dtype=np.int64)
        rank[first.argsort()] = np.arange(len(values))
        return torch.from_numpy(rank[inverse]), values[first.argsort()].tolist()
    number: dict[Hashable, int] = {}
    found = []
    for row, label in enumerate(labels):
        if not isinstance(label, Hashable):
            raise ValueError(
                f"Expected `{name}` to be labels that can be compared, such as texts and numbers, "
                f"but found {label!r} in row {row}."
            )
        if label != label or label is None:
            raise ValueError(f"Expected a label in `{name}` for every row, but row {row} has none.")
        found.append(number.setdefault(label, len(number)))
    return torch.tensor(found, dtype=torch.long), list(number)
