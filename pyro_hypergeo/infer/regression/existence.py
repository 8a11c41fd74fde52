# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Whether the likelihood of a regression has a maximum, and only one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..maximum import NoFiniteEstimateError
from .separation import separating_direction
from .within_strata import Array, Indices, WithinStrata, relations, within_strata

# A part of so many rows usually proves that there is a maximum. The others are then not read.
_PART = 4000


def check_existence(
    design: Tensor, counts: Tensor, sizes: Tensor, strata: Tensor, names: Sequence[str]
) -> None:
    """Raise :class:`~pyro_hypergeo.NoFiniteEstimateError` if there is no finite, unique maximum.

    The answer is the same for Fisher's and for Wallenius' law, and for all finite offsets. Remove
    rows with an offset of minus infinity first.

    >>> import torch
    >>> from pyro_hypergeo.infer.regression.existence import check_existence
    >>> design, strata = torch.tensor([[50.0], [60.0], [70.0]]), torch.zeros(3, dtype=torch.int64)
    >>> drawn = torch.tensor([0.0, 0.0, 1.0])
    >>> check_existence(design, drawn, torch.ones(3), strata, names=["age"])
    Traceback (most recent call last):
    pyro_hypergeo.infer.maximum.NoFiniteEstimateError: The likelihood grows without end as age
    grows: ...

    :param Tensor design: covariates, shape ``(N, p)``.
    :param Tensor counts: what was drawn of each row, shape ``(N,)``.
    :param Tensor sizes: size of each row, shape ``(N,)``.
    :param Tensor strata: labels from 0 on, in any order, shape ``(N,)``.
    :param names: p names, for the message.
    """
    columns = range(design.shape[1])
    rows, taken, whole = (_float(values) for values in (design, counts, sizes))
    label = strata.detach().cpu().numpy().astype(np.int64, copy=False)
    if not columns:
        return
    # More rows only add inequalities. So what holds for a part holds for all.
    if len(rows) > 2 * _PART:
        some = _part(label)
        data = within_strata(rows[some], taken[some], whole[some], label[some])
        if not relations(data) and separating_direction(data, columns) is None:
            return
    data = within_strata(rows, taken, whole, label)
    lost = relations(data)
    if lost:
        raise _not_identified(data, lost, names)
    direction = separating_direction(data, columns)
    if direction is not None:
        raise _infinite(data, direction, names)


def _float(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()


def _part(strata: Indices) -> Indices:
    """About ``_PART`` rows: whole strata if these are small, parts of them if they are large."""
    number = int(strata.max()) + 1
    wanted = max(1, min(number, _PART * number // len(strata)))
    some = np.flatnonzero(strata % (number // wanted) == 0)
    return some[:: max(1, len(some) // (2 * _PART))]


def _not_identified(
    data: WithinStrata, lost: list[Array], names: Sequence[str]
) -> NoFiniteEstimateError:
    if not len(data.rows):
        return NoFiniteEstimateError(
            "The coefficients are not identified: in every stratum nothing or everything was drawn",
            covariates=names,
        )
    constant = [int(np.flatnonzero(r)[0]) for r in lost if np.count_nonzero(r) == 1]
    reasons = []
    if constant:
        kind = "covariate {} is" if len(constant) == 1 else "covariates {} are each"
        reasons.append(f"the {kind.format(_quoted(constant, names))} constant within every stratum")
    for relation in lost:
        involved = np.flatnonzero(relation).tolist()
        if len(involved) > 1:
            reasons.append(
                f"the covariates {_quoted(involved, names)} are linearly dependent within strata "
                f"({_combination(relation, names)} = 0 up to a constant of each stratum)"
            )
    remedy = "Leave it out" if len(lost) == 1 and constant else "Leave one out of each dependence"
    if len(lost) > 1 and len(constant) == len(lost):
        remedy = "Leave them out"
    elif len(lost) == 1 and not constant:
        remedy = "Leave one of them out"
    involved = np.flatnonzero(np.any(lost, axis=0)).tolist()
    return NoFiniteEstimateError(
        f"The coefficients are not identified: {'; '.join(reasons)}. {remedy}.",
        covariates=[names[column] for column in involved],
    )


def _infinite(data: WithinStrata, direction: Array, names: Sequence[str]) -> NoFiniteEstimateError:
    columns = range(len(names))
    alone = {column: separating_direction(data, [column]) for column in columns}
    signs = {column: float(found[0]) for column, found in alone.items() if found is not None}
    if signs:
        # The sum of such directions is one, too.
        direction = np.zeros(len(names))
        for column, sign in signs.items():
            direction[column] = sign / data.scale[column]
        ways = [f"as {names[c]} {'grows' if sign > 0 else 'falls'}" for c, sign in signs.items()]
        way = " and ".join(ways)
        reason = (
            "In each stratum, what was drawn lies on one side of what was left, or level with it"
        )
    else:
        direction = _of_few(data, direction)
        way = f"along {_combination(direction, names)} (in these units)"
        reason = (
            "In each stratum, this sum is for what was drawn at least as large as for what was left"
        )
    involved = np.flatnonzero(direction).tolist()
    out = "leave it out" if len(involved) == 1 else "leave covariates out"
    return NoFiniteEstimateError(
        f"The likelihood grows without end {way}: no finite coefficient is the best. {reason}. "
        f"Give a ridge above 0, or {out}.",
        covariates=[names[column] for column in involved],
        direction=(direction / np.abs(direction).max()).tolist(),
    )


def _of_few(data: WithinStrata, direction: Array) -> Array:
    """A separating direction with as few covariates as possible: none of them can be left out."""
    columns = np.flatnonzero(direction).tolist()
    found = direction[columns]
    for column in list(columns):
        fewer = [other for other in columns if other != column]
        without = separating_direction(data, fewer) if fewer else None
        if without is not None:
            columns, found = fewer, without
    shortened = np.zeros_like(direction)
    shortened[columns] = found
    return shortened


def _quoted(columns: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(f"`{names[column]}`" for column in columns)


def _combination(coefficients: Array, names: Sequence[str]) -> str:
    text = ""
    for coefficient, name in zip(coefficients, names, strict=True):
        if coefficient:
            sign = "- " if coefficient < 0 else "+ "
            text += f" {sign}{abs(coefficient):.4g} {name}"
    return text[3:] if text.startswith(" +") else f"-{text[3:]}"
