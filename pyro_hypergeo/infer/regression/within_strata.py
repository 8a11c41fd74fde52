# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What strata see of covariates: their differences, and which of these depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
# The cross product squares the condition number. Above this eigenvalue, it has digits to spare.
_WELL_CONDITIONED = 1e-5
# Rows of one block of the QR decomposition.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class WithinStrata:
    """The rows that can teach something, sorted by stratum, and their spread within strata.

    :ivar rows: covariates as they were given, shape ``(N, p)``.
    :ivar starts: where each stratum starts, shape ``(S,)``.
    :ivar taken: indices of the rows of which something was drawn.
    :ivar left: indices of the rows of which something was left.
    :ivar centred: ``rows`` less their mean in each stratum, each column with a mean square of 1.
    :ivar scale: by what the centred columns were divided, 0 for those constant within strata.
    :ivar triangle: ``R`` with ``R' R`` the mean of the outer products of ``centred``.
    :ivar float noise: bound of what rounding of the data does to singular values of ``triangle``.
    """

    rows: Array
    starts: Indices
    taken: Indices
    left: Indices
    centred: Array
    scale: Array
    triangle: Array
    noise: float


def within_strata(design: Array, counts: Array, sizes: Array, strata: Indices) -> WithinStrata:
    """Keep strata where something is drawn and something is left; sort, centre and scale them.

    >>> import numpy as np
    >>> from pyro_hypergeo.infer.regression.within_strata import within_strata
    >>> design = np.array([[1.0], [3.0], [9.0]])
    >>> counts, sizes, strata = np.array([1.0, 0, 1]), np.ones(3), np.array([0, 0, 1])
    >>> within_strata(design, counts, sizes, strata).centred
    array([[-1.],
           [ 1.]])
    """
    if (strata[1:] < strata[:-1]).any():
        order = np.argsort(strata, kind="stable")
        design, counts, sizes, strata = design[order], counts[order], sizes[order], strata[order]
    drawn, total = np.bincount(strata, counts), np.bincount(strata, sizes)
    keep = ((drawn > 0) & (drawn < total))[strata] & (sizes > 0)
    if not keep.all():
        design, counts, sizes, strata = design[keep], counts[keep], sizes[keep], strata[keep]
    new = np.diff(strata, prepend=-1) != 0
    starts = np.flatnonzero(new)
    centred, scale, noise = _centre(design, starts, np.cumsum(new) - 1)
    return WithinStrata(
        rows=design,
        starts=starts,
        taken=np.flatnonzero(counts > 0),
        left=np.flatnonzero(counts < sizes),
        centred=centred,
        scale=scale,
        triangle=_triangle(centred),
        noise=noise,
    )


def _centre(rows: Array, starts: Indices, stratum: Indices) -> tuple[Array, Array, float]:
    if not len(rows):
        return rows, np.zeros(rows.shape[1]), 0.0
    # Less the first row of the stratum first: what is constant becomes 0 and not a rounding error,
    # and a mean of small numbers is exact enough.
    centred = rows - rows[starts][stratum]
    length = np.diff(starts, append=len(rows))[:, None]
    centred -= (np.add.reduceat(centred, starts) / length)[stratum]
    rounding = _EPS * np.abs(rows).max(0)
    largest = np.abs(centred).max(0)
    varies = largest > 4 * rounding
    # The largest entry first: squares of units like 1e-200 would vanish.
    centred /= np.where(varies, largest, np.inf)
    mean_square = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(rows))
    centred /= np.where(varies, mean_square, 1)
    scale = largest * mean_square
    relative = rounding[varies] / scale[varies]
    return centred, scale, float(np.sqrt(np.square(relative).sum())) + 10 * _EPS * rows.shape[1]


def _triangle(centred: Array) -> Array:
    number, columns = centred.shape
    if number == 0:
        return np.zeros((columns, columns))
    product = centred.T @ centred / number
    if columns and np.linalg.eigvalsh(product)[0] > _WELL_CONDITIONED:
        return np.linalg.cholesky(product).T
    triangle = torch.zeros((0, columns), dtype=torch.float64)
    for block in torch.from_numpy(centred).split(_BLOCK):
        triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
    full = np.zeros((columns, columns))
    full[: len(triangle)] = triangle.numpy() / np.sqrt(number)
    return full


def relations(data: WithinStrata) -> list[Array]:
    """Combinations of covariates that are constant within every stratum: one for each lost rank.

    Each involves as few covariates as possible: one that is no combination of those before it is
    taken in, one that is gives a relation.

    >>> import numpy as np
    >>> from pyro_hypergeo.infer.regression.within_strata import relations, within_strata
    >>> design = np.array([[1.0, 2.0, 3.0], [0.0, 5.0, 5.0], [4.0, 0.0, 4.0]])
    >>> data = within_strata(design, np.array([1.0, 0, 1]), np.ones(3), np.zeros(3, dtype=int))
    >>> relations(data)
    [array([ 1.,  1., -1.])]
    """
    columns = data.rows.shape[1]
    constant = np.flatnonzero(data.scale == 0) if len(data.rows) else np.arange(columns)
    varying = np.setdiff1d(np.arange(columns), constant)
    found = [np.eye(columns)[column] for column in constant]
    tolerance = 8 * data.noise
    if _smallest(data.triangle[:, varying])[0] > tolerance:
        return found
    kept: list[int] = []
    for column in varying:
        tried = [*kept, int(column)]
        value, vector = _smallest(data.triangle[:, tried])
        if value > tolerance:
            kept = tried
            continue
        relation = np.zeros(columns)
        involved = np.abs(vector) > np.abs(vector).max() * max(1e-9, 100 * tolerance)
        relation[tried] = np.where(involved, vector, 0) / data.scale[tried]
        found.append(_with_small_integers(relation))
    return found


def _smallest(triangle: Array) -> tuple[float, Array]:
    """The smallest singular value of the columns, and its vector."""
    if not triangle.shape[1]:
        return np.inf, np.zeros(0)
    _, values, vectors = np.linalg.svd(triangle, full_matrices=False)
    return float(values[-1]), vectors[-1]


def _with_small_integers(relation: Array) -> Array:
    """Scaled so that the entries are integers if the smallest one allows it; the first is > 0."""
    involved = relation[relation != 0]
    whole = relation / np.abs(involved).min() * np.sign(involved[0])
    nearest = np.round(whole)
    if np.allclose(whole, nearest, rtol=1e-6) and np.abs(nearest).max() < 1000:
        return nearest
    return relation / (np.abs(involved).max() * np.sign(involved[0]))
