# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Score tests of many further covariates, one after the other, in one pass over the rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...distributions.arrays import as_tensor
from ...ops.fisher.law import FisherLaw
from ...ops.fisher.state import saddle_point
from ...ops.law import Law
from .prediction import log_weights, urns
from .rows import Rows
from .statistics import two_sided_p

# Candidates that are tested together by a law without a formula for many.
_TOGETHER = 16
# Numbers in one table.
_CELLS = 20_000_000


class ScoreTests(NamedTuple):
    """The result of :meth:`RegressionFit.score_tests`: one test for each candidate.

    :ivar torch.Tensor z_values: scores over their standard deviations, of shape ``(k,)``. The sign
        is that of the effect. NaN if the fitted covariates explain the candidate.
    :ivar torch.Tensor p_values: two-sided p-values, of shape ``(k,)``.
    """

    z_values: Tensor
    p_values: Tensor


def score_tests(law: Law, rows: Rows, coefficients: Tensor, candidates: Any) -> ScoreTests:
    """The tests of :meth:`RegressionFit.score_tests`."""
    columns = _columns(candidates, len(rows.counts))
    sums_of = _fisher_sums if isinstance(law, FisherLaw) else _general_sums
    sums = sums_of(law, rows, coefficients, columns)
    explained = (sums.cross * torch.linalg.solve(sums.own, sums.cross.mT).mT).sum(-1)
    left = sums.variance - explained
    # What is left of a candidate that the others explain is rounding.
    known = left > 1e-10 * sums.variance
    z = sums.score / torch.where(known, left, torch.nan).sqrt()
    return ScoreTests(z, two_sided_p(z))


class _Sums(NamedTuple):
    """Scores of k candidates, their variances and covariances with the p fitted covariates."""

    score: Tensor  # (k,)
    variance: Tensor  # (k,)
    cross: Tensor  # (k, p)
    own: Tensor  # (p, p)


def _columns(candidates: Any, rows: int) -> Any:
    """The candidates as a dense tensor, or as a sparse matrix with fast rows."""
    if hasattr(candidates, "tocsr"):
        columns = candidates.tocsr().astype(np.float64)
        wrong = ~np.isfinite(columns.data)
        if wrong.any():
            entries = columns.tocoo()
            row, column = int(entries.row[wrong][0]), int(entries.col[wrong][0])
            raise ValueError(_not_finite(columns.data[wrong][0], row, column))
    else:
        columns = as_tensor(candidates, name="candidates").double()
        columns = columns.reshape(len(columns), -1)
        if not columns.isfinite().all():
            row, column = (~columns.isfinite()).nonzero()[0].tolist()
            raise ValueError(_not_finite(columns[row, column].item(), row, column))
    if columns.shape[0] != rows:
        raise ValueError(
            f"Expected `candidates` with one row for each of {rows} rows, but got "
            f"{columns.shape[0]}."
        )
    return columns


def _not_finite(value: float, row: int, column: int) -> str:
    return f"Expected `candidates` to be finite, but found {value} in row {row}, column {column}."


def _products(columns: Any, index: Tensor, table: Tensor) -> Tensor:
    """Sums over the rows of each stratum, (S, k, C), of candidates times a table (S, G, C)."""
    if torch.is_tensor(columns):
        return columns[index].mT @ table
    strata, length, width = table.shape
    some = columns[index.flatten().numpy()]
    if strata == 1:
        return torch.from_numpy(np.asarray(some.T @ table[0].numpy())).unsqueeze(0)
    from scipy.sparse import csr_matrix  # scipy takes long to import

    # Each row has its entries in the columns of its stratum.
    first = torch.arange(strata).repeat_interleave(length) * width
    places = (first.unsqueeze(-1) + torch.arange(width)).flatten()
    starts = np.arange(strata * length + 1) * width
    blocks = csr_matrix(
        (table.flatten().numpy(), places.numpy(), starts), (strata * length, strata * width)
    )
    sums = torch.from_numpy((some.T @ blocks).toarray())
    return sums.reshape(-1, strata, width).movedim(0, 1)


def _fisher_sums(law: Law, rows: Rows, coefficients: Tensor, columns: Any) -> _Sums:
    # The covariance of a stratum is a diagonal matrix, plus one matrix of rank 1 for each node.
    theta, k, p = log_weights(rows, coefficients), columns.shape[1], len(coefficients)
    total = _Sums(*(torch.zeros(shape, dtype=torch.float64) for shape in (k, k, (k, p), (p, p))))
    squares = columns.square() if torch.is_tensor(columns) else columns.multiply(columns).tocsr()
    for whole, _ in urns(rows):
        for index in whole.split(max(1, _CELLS // (45 * max(k, whole.shape[1])))):
            counts = rows.counts[index]
            state = law.solve(theta[index], rows.sizes[index], counts.sum(-1))
            groups, b = saddle_point(state)
            interior = state.urn.interior.unsqueeze(-1)
            c = torch.where(interior, groups.variance, 0.0).unsqueeze(-1)
            x = rows.design[index]
            along = torch.where(interior.unsqueeze(-1), b.covariance_product(x), 0.0)
            away = torch.where(interior, counts - state.mean, 0.0).unsqueeze(-1)
            table = torch.cat([c * b.real, c * b.imag, c * b.first.unsqueeze(-1), away, along], -1)
            sums = _products(columns, index, table)
            nodes = b.real.shape[-1]
            real, imag, first, score, cross = sums.split([nodes, nodes, 1, 1, p], -1)
            w_real, w_imag = b.weight_real.unsqueeze(-2), b.weight_imag.unsqueeze(-2)
            shared = w_real * (real.square() - imag.square()) - 2 * w_imag * real * imag
            own = _products(squares, index, c * b.own.unsqueeze(-1)).squeeze(-1)
            total = _Sums(
                total.score + score.sum((0, -1)),
                total.variance + (own + shared.sum(-1) - first.squeeze(-1).square()).sum(0),
                total.cross + cross.sum(0),
                total.own + torch.einsum("sgp,sgq->pq", x, along),
            )
    return total


def _general_sums(law: Law, rows: Rows, coefficients: Tensor, columns: Any) -> _Sums:
    theta, p = log_weights(rows, coefficients), len(coefficients)
    parts = []
    for start in range(0, columns.shape[1], _TOGETHER):
        some = columns[:, start : start + _TOGETHER]
        some = some if torch.is_tensor(some) else torch.from_numpy(some.toarray())
        design = torch.cat([rows.design, some], -1)
        width = design.shape[1]
        score = torch.zeros(width, dtype=torch.float64)
        information = torch.zeros(width, width, dtype=torch.float64)
        for index, _ in urns(rows):
            terms = law.design_terms(
                theta[index], rows.sizes[index], rows.counts[index], design[index]
            )
            score, information = score + terms.scores.sum(0), information + terms.information
        own = information[:p, :p]
        parts.append((score[p:], information.diagonal()[p:], information[p:, :p]))
    scores, variances, crosses = map(torch.cat, zip(*parts, strict=True))
    return _Sums(scores, variances, crosses, own)
