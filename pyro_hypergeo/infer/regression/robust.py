# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Standard errors from the scores of strata, or of clusters of strata."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .likelihood import TableLikelihood
from .rows import numbered


def clustered_covariance(
    likelihood: TableLikelihood, coefficients: Tensor, information: Tensor, cluster: Any
) -> Tensor:
    """The sandwich of :meth:`RegressionFit.robust`, ``(p, p)``."""
    table = likelihood.table
    scores = likelihood.scores(coefficients * likelihood.scale)
    used = torch.cat([batch.strata for batch in table.batches])
    if cluster is None:
        number = torch.arange(len(scores))
    else:
        number = _of_strata(table.given.strata, cluster, table.labels)
    if number[used].unique().numel() < 2:
        raise ValueError(
            "Expected at least two clusters of strata, since the scores of all sum to 0, but got "
            "one. In a single urn use `dispersion`, or `permutation_test` for a network."
        )
    sums = scores.new_zeros(int(number.max()) + 1, scores.shape[1]).index_add_(0, number, scores)
    bread = torch.linalg.inv(information)
    return bread @ (sums.mT @ sums) @ bread


def _of_strata(strata: Tensor, cluster: Any, labels: list[Any]) -> Tensor:
    """The number of the cluster of each stratum."""
    of_rows, names = numbered(cluster, len(strata), "cluster")
    result = torch.zeros(len(labels), dtype=torch.long)
    result[strata] = of_rows
    wrong = (result[strata] != of_rows).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"Expected `cluster` to be the same for all rows of a stratum, but stratum "
            f"{labels[int(strata[row])]!r} is in {names[int(of_rows[row])]!r} and in "
            f"{names[int(result[strata[row]])]!r}."
        )
    return result
