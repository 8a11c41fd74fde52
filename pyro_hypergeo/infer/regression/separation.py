# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Directions in which the likelihood of a regression never falls, by cutting planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .within_strata import Array, Indices, WithinStrata

# A direction separates if no difference of rows, as a unit vector, goes against it by more.
_TOLERANCE = 1e-9
# What the programme must reach for a direction to be one: rounding stays below, truth above, since
# a separating direction reaches 1 / (2 sqrt(N p)).
_REACHED = 1e-8
_MAX_ROUNDS = 1000


def separating_direction(data: WithinStrata, columns: Sequence[int]) -> Array | None:
    """A direction in these columns in which the likelihood never falls, or None if there is none.

    Along a direction ``d`` it never falls if in every stratum all rows of which something was
    drawn have values of ``X d`` that are at least those of all rows of which something was left.
    That is one inequality for each pair of such rows. Few of them decide: a linear programme with
    those seen so far proposes a direction, and the pairs that contradict it most come in next.
    Cost of a round: O(N p), and the programme has p unknowns. A handful of rounds is usual.

    >>> import numpy as np
    >>> from pyro_hypergeo.infer.regression.separation import separating_direction
    >>> from pyro_hypergeo.infer.regression.within_strata import within_strata
    >>> design, drawn = np.array([[1.0, 4.0], [2.0, 7.0], [3.0, 1.0]]), np.array([0.0, 1.0, 0.0])
    >>> data = within_strata(design, drawn, np.ones(3), np.zeros(3, dtype=int))
    >>> separating_direction(data, columns=[0]) is None
    True
    >>> separating_direction(data, columns=[1])
    array([1.])

    :param data: rows whose columns are linearly independent within strata.
    :param columns: indices of the covariates that the direction may use.
    :return: the direction in the units of the design, its largest entry 1 or -1, or None.
    """
    from scipy.optimize import linprog  # scipy takes long to import

    search = _Search(data, columns)
    goal, known = search.goal, np.zeros((0, len(columns)))
    direction = goal / max(np.abs(goal).max(), np.finfo(float).tiny)
    for _ in range(_MAX_ROUNDS):
        if goal @ direction <= _REACHED:
            return None
        against = search.against(direction)
        if not len(against):
            given = search.whitening @ direction
            return np.asarray(given / np.abs(given).max())
        known = np.concatenate([known, against])
        answer = linprog(
            -goal,
            A_ub=-known,
            b_ub=np.zeros(len(known)),
            bounds=(-1, 1),
            method="highs-ds",
            options={
                "primal_feasibility_tolerance": _TOLERANCE / 10,
                "dual_feasibility_tolerance": _TOLERANCE / 10,
            },
        )
        if answer.x is None:
            raise RuntimeError(f"The linear programme of the separation failed: {answer.message}")
        direction = answer.x
    raise RuntimeError(f"The search for a separating direction did not end in {_MAX_ROUNDS} rounds")


class _Search:
    """Finds the pairs of rows that contradict a direction.

    Directions are in coordinates in which the rows have the identity as their mean outer product.
    So neither units nor correlations of the covariates matter.
    """

    def __init__(self, data: WithinStrata, columns: Sequence[int]) -> None:
        self.columns = list(columns)
        triangle = np.linalg.qr(data.triangle[:, self.columns], mode="r")
        inverse = np.linalg.inv(triangle)
        self.whitening = inverse / data.scale[self.columns, None]
        self.rows = data.rows
        white = data.centred[:, self.columns] @ inverse
        self.taken, self.left = data.taken, data.left
        self.white_taken, self.white_left = white[data.taken], white[data.left]
        self.starts_taken = np.searchsorted(data.taken, data.starts)
        self.starts_left = np.searchsorted(data.left, data.starts)
        self.goal = self._goal(np.diff(data.starts, append=len(data.rows)))
        # Pairs of one round, and of one stratum in it.
        self.number = 50 + 10 * len(self.columns)
        self.each = max(1, self.number // len(data.starts))

    def _goal(self, lengths: Indices) -> Array:
        """A sum of differences taken less left, positive along every separating direction."""
        differences = lengths[:, None] * (
            _means(self.white_taken, self.starts_taken) - _means(self.white_left, self.starts_left)
        )
        total = np.linalg.norm(differences, axis=1).sum()
        return np.asarray(differences.sum(0) / max(total, np.finfo(float).tiny))

    def against(self, direction: Array) -> Array:
        """Differences of rows, as unit vectors, that go most against the direction."""
        taken, left = self.white_taken @ direction, self.white_left @ -direction
        gap = np.minimum.reduceat(taken, self.starts_taken)
        gap += np.minimum.reduceat(left, self.starts_left)
        strata = np.flatnonzero(gap < 0)
        if len(strata) > self.number:
            strata = strata[np.argpartition(gap[strata], self.number)[: self.number]]
        pairs = [self._pairs(stratum, taken, left) for stratum in strata.tolist()]
        if not pairs:
            return np.zeros((0, len(direction)))
        first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
        # Differences of the rows as given are exact, even of large numbers.
        difference = self.rows[self.taken[first]] - self.rows[self.left[second]]
        difference = difference[:, self.columns] @ self.whitening
        norm = np.linalg.norm(difference, axis=1)
        difference = difference[norm > 0] / norm[norm > 0, None]
        return np.asarray(difference[difference @ direction < -_TOLERANCE])

    def _pairs(self, stratum: int, taken: Array, left: Array) -> tuple[Indices, Indices]:
        first = _lowest(taken, self.starts_taken, stratum, self.each)
        second = _lowest(left, self.starts_left, stratum, self.each)
        length = min(len(first), len(second))
        return first[:length], second[:length]


def _means(values: Array, starts: Indices) -> Array:
    lengths = np.diff(starts, append=len(values))
    return np.asarray(np.add.reduceat(values, starts) / lengths[:, None])


def _lowest(values: Array, starts: Indices, stratum: int, number: int) -> Indices:
    """Indices of the lowest values of a stratum, in rising order."""
    start = int(starts[stratum])
    end = int(starts[stratum + 1]) if stratum + 1 < len(starts) else len(values)
    part = values[start:end]
    if number == 1:
        return np.array([start + int(part.argmin())])
    if len(part) > number:
        lowest = np.argpartition(part, number - 1)[:number]
    else:
        lowest = np.arange(len(part))
    return np.asarray(start + lowest[np.argsort(part[lowest])])
