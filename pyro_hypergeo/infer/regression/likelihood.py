# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-likelihood of a stratified table as a function of the coefficients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...ops.law import DesignTerms, Law, LogLikelihood, one_draw_terms
from .strata import Batch, StratifiedTable


class TableLikelihood:
    """The log-likelihood of a table under a law, and its derivatives in scaled coefficients.

    Columns are centred in each stratum, which changes nothing but rounding, and divided by their
    standard deviation there. Both serve accuracy: columns may have any origin and any unit.

    :ivar torch.Tensor scale: the standard deviations of the columns within strata, ``(p,)``; 1 for
        a constant column. A coefficient is a scaled one, divided by its entry.
    """

    def __init__(self, table: StratifiedTable, law: Law, ridge: float = 0.0) -> None:
        self.table, self.law = table, law
        centred = [_centred(batch) for batch in table.batches]
        square = sum(x.square().sum((0, 1)) for x in centred)
        rows = sum(int((batch.group_sizes > 0).sum()) for batch in table.batches)
        scale = torch.as_tensor(square / max(rows, 1)).sqrt()
        self.scale = torch.where(scale > 0, scale, 1.0)
        self._batches = [
            batch._replace(design=x / self.scale)
            for batch, x in zip(table.batches, centred, strict=True)
        ]
        self._penalty = ridge / self.scale.square()

    def terms(self, scaled: Tensor) -> Iterator[tuple[Batch, DesignTerms]]:
        """Values, scores and information of each batch, without the penalty."""
        for batch in self._batches:
            theta = batch.log_weights(scaled)
            single = self.law.draws_elements and bool((batch.total_count == 1).all())
            evaluate = one_draw_terms if single else self.law.design_terms
            yield batch, evaluate(theta, batch.group_sizes, batch.counts, batch.design)

    def at(self, scaled: Tensor) -> LogLikelihood:
        """The penalised log-likelihood at scaled coefficients, and its derivatives."""
        value = scaled.new_zeros(()) + self.table.log_constant
        gradient, information = torch.zeros_like(scaled), torch.diag(self._penalty)
        for _, terms in self.terms(scaled):
            value = value + terms.values.sum()
            gradient = gradient + terms.scores.sum(0)
            information = information + terms.information
        value = value - 0.5 * (self._penalty * scaled.square()).sum()
        return LogLikelihood(value, gradient - self._penalty * scaled, information)

    def scores(self, scaled: Tensor) -> Tensor:
        """The gradient of each stratum in the unscaled coefficients, (strata of the table, p)."""
        result = scaled.new_zeros(len(self.table.labels), len(scaled))
        for batch, terms in self.terms(scaled):
            result[batch.strata] = terms.scores * self.scale
        return result


def _centred(batch: Batch) -> Tensor:
    present = (batch.group_sizes > 0).unsqueeze(-1)
    number = present.sum(-2, keepdim=True)
    centre = (batch.design * present).sum(-2, keepdim=True) / number
    return torch.where(present, batch.design - centre, 0.0)
