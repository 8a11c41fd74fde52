# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-likelihood of coefficients of covariates, and its derivatives in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log_binomial_pmf
from ..law import DesignTerms
from .clocks import (
    HIGHEST,
    LOWEST,
    Race,
    TimeNodes,
    even_ends,
    even_nodes,
    find_peak,
    log_rung_odds,
    race_nodes,
    rule_holds,
    rung_change,
)

# Numbers in one table; a few tables live at a time.
_CELLS = 500_000
# Equal steps need about so many nodes.
_NODES = 32
# If equal steps do not hold, shorter ones are tried. They cost about as much as Gauss' rule and are
# more accurate: near a wall, Gauss' rule gives second derivatives with errors of up to 1e-10.
_MOST_STEPS, _FINER = 128, (1, 2, 4)
# A group that is drawn wholly may be heavier than the rest by more than a float can hold. Nothing
# of it is left, so the cut changes nothing.
_LARGEST = 600.0


def wallenius_design_terms(
    theta: Tensor, sizes: Tensor, counts: Tensor, design: Tensor
) -> DesignTerms:
    r"""Value, scores and observed information of S strata with log-weights X beta + offset.

    Let :math:`d_i = w_i (m_i - x_i)` be the weight that is left in row i, and :math:`D` the sum of
    them. The law does not change if a row is subtracted from all rows of X. So let the mean of the
    rows with weights d be 0. Then, with f the log of the integrand at the time :math:`u = e^v`, and
    with :math:`h(y) = y / (e^y - 1)`,

    .. math::

        \nabla f = \sum_i x_i h(w_i u) X_i, \qquad
        \nabla^2 f = \Bigl(\frac{1}{D} - u\Bigr) \sum_i d_i X_i X_i^T
            + \sum_i x_i h'(w_i u) X_i X_i^T ,

    with h' the derivative in the log-weight. The score is the mean of the first over the nodes. The
    information is the mean of minus the second, less the covariance of the first. In the mean,
    :math:`D u - 1` is :math:`\sum_i x_i h(w_i u)`. So only rows with something drawn need a table
    over the nodes.

    Strata and rows are taken in parts, so no table over the nodes is large. Most strata have 30 to
    90 nodes: equal steps, which are checked. The others have shorter steps, or Gauss' rule. The
    result has no gradient.

    Cost: O(G p^2) for each stratum, and O(p) for each drawn row and node.

    :param Tensor theta: log-weights, shape ``(S, G)``; ``-inf`` is a weight of 0.
    :param Tensor sizes: shape ``(S, G)``; a size of 0 is a row that does not exist.
    :param Tensor counts: shape ``(S, G)``; possible counts, which is not checked.
    :param Tensor design: X, shape ``(S, G, p)``, finite.
    :return: the terms in float64; 0 for strata where nothing or everything is drawn.
    """
    with torch.no_grad():
        strata = _Strata(*(t.detach().double() for t in (theta, sizes, counts, design)))
        reachable = strata.sizes.masked_fill(strata.theta == -torch.inf, 0)
        strata = strata._replace(sizes=reachable)
        total = strata.counts.sum(-1)
        interior = ((total > 0) & (total < reachable.sum(-1))).nonzero().squeeze(-1)

        groups, covariates = design.shape[1:]
        values = reachable.new_zeros(design.shape[0])
        scores = reachable.new_zeros(design.shape[0], covariates)
        information = reachable.new_zeros(covariates, covariates)
        if len(interior):
            drawn = int((strata.counts > 0).sum(-1).amax())
            number = max(1, _CELLS // max(drawn * _NODES, groups * covariates))
            for index in interior.split(number):
                terms = _interior_terms(strata.take(index))
                values[index], scores[index] = terms.values, terms.scores
                information += terms.information
        return DesignTerms(values, scores, information)


class _Strata(NamedTuple):
    """The arguments in float64; sizes are 0 where the weight is 0."""

    theta: Tensor  # (S, G)
    sizes: Tensor  # (S, G)
    counts: Tensor  # (S, G)
    design: Tensor  # (S, G, p)

    def take(self, index: Tensor) -> _Strata:
        """Some of the strata; no copy if these are all."""
        if len(index) == len(self.theta):
            return self
        return _Strata(*(t[index] for t in self))


def _interior_terms(strata: _Strata) -> DesignTerms:
    theta, sizes, counts, design = strata
    left = sizes - counts
    top = theta.masked_fill(left <= 0, -torch.inf).amax(-1, keepdim=True)
    share = left.mul_(torch.exp((theta - top).clamp_(max=_LARGEST)))
    rest = share.sum(-1, keepdim=True)
    share /= rest
    mean = share.unsqueeze(-2) @ design
    rows = _drawn_rows(strata, top, torch.log(rest).squeeze(-1), share, mean)

    values, pull = torch.empty_like(rows.log_rest), torch.empty_like(rows.log_rest)
    scores = mean.new_empty(mean.shape[0], mean.shape[-1])
    information = mean.new_zeros(mean.shape[-1], mean.shape[-1])
    for index, nodes, fall in _rules(rows):
        terms, force = _integrals(rows.take(index), nodes, fall)
        values[index], scores[index], pull[index] = terms.values, terms.scores, force
        information += terms.information
    information += _gram(share.mul_(pull.unsqueeze(-1)), design, mean)
    return DesignTerms(values, scores, information)


class _Rows(NamedTuple):
    """R rows of each stratum: all from which something was drawn, and padding of size 0."""

    x: Tensor  # (S, R)
    sizes: Tensor  # (S, R)
    theta: Tensor  # (S, R)
    design: Tensor  # (S, R, p): the mean of the rows by what is left is 0
    log_rest: Tensor  # (S,): log D
    outside: Tensor  # (S,): the share of all other rows in D

    @property
    def race(self) -> Race:
        return Race(self.x, self.theta, self.log_rest)

    def take(self, index: Tensor) -> _Rows:
        """The rows of some strata; no copy if these are all."""
        if len(index) == len(self.x):
            return self
        return _Rows(*(t[index] for t in self))

    def parts(self, nodes: TimeNodes) -> Iterator[tuple[_Rows, Tensor]]:
        """So many rows at a time that a table is small; and log(w u) at the peak for them."""
        number = max(1, _CELLS // nodes.offset.numel())
        columns = (t.split(number, 1) for t in self[:4])
        for x, sizes, theta, design in zip(*columns, strict=True):
            part = self._replace(x=x, sizes=sizes, theta=theta, design=design)
            yield part, theta + nodes.peak.unsqueeze(-1)


def _drawn_rows(
    strata: _Strata, top: Tensor, log_rest: Tensor, share: Tensor, mean: Tensor
) -> _Rows:
    drawn = strata.counts > 0
    number = drawn.sum(-1)
    stratum, row = drawn.nonzero(as_tuple=True)
    width = int(number.amax())
    place = torch.arange(len(row), device=row.device) - (number.cumsum(-1) - number)[stratum]
    index = row.new_zeros(len(number), width)
    index[stratum, place] = row + stratum * drawn.shape[-1]
    padding = torch.arange(width, device=row.device) >= number.unsqueeze(-1)

    def gather(table: Tensor) -> Tensor:
        return table.reshape(-1)[index].masked_fill_(padding, 0)

    return _Rows(
        x=gather(strata.counts),
        sizes=gather(strata.sizes),
        theta=gather(strata.theta).sub_(top),
        design=strata.design.flatten(0, 1)[index].sub_(mean),
        log_rest=log_rest,
        outside=(1 - gather(share).sum(-1)).clamp_(min=0),
    )


def _rules(rows: _Rows) -> Iterator[tuple[Tensor, TimeNodes, Tensor]]:
    """Strata whose nodes have one rule: their indices, the nodes, the fall at each node."""
    race = rows.race
    peak, curvature = find_peak(race)
    lengths, steps = even_ends(race, peak, curvature)
    easy = steps <= _MOST_STEPS  # not so for NaN
    index = easy.nonzero().squeeze(-1)
    for times in _FINER:
        if not len(index):
            break
        nodes = even_nodes(peak[index], lengths[index], times * int(steps[index].amax()))
        fall = _fall(rows.take(index), nodes)
        holds = rule_holds(fall, torch.softmax(nodes.log_length - fall, -1))
        if holds.any():
            yield index[holds], TimeNodes(*(t[holds] for t in nodes)), fall[holds]
        index = index[~holds]
    index = torch.cat([index, (~easy).nonzero().squeeze(-1)])
    if len(index):
        some = rows.take(index)
        nodes = race_nodes(some.race)
        yield index, nodes, _fall(some, nodes)


def _fall(rows: _Rows, nodes: TimeNodes) -> Tensor:
    """How far the log of the integrand is below its peak, (S, J): `race_fall` in parts."""
    growth = torch.expm1(nodes.offset)
    fall = torch.exp(rows.log_rest + nodes.peak).unsqueeze(-1) * growth - nodes.offset
    for part, log_y in rows.parts(nodes):
        fall -= (part.x.unsqueeze(-2) @ rung_change(log_y, growth)).squeeze(-2)
    return fall


def _integrals(rows: _Rows, nodes: TimeNodes, fall: Tensor) -> tuple[DesignTerms, Tensor]:
    """The terms but for what is left of the rows; and E[sum_i x_i h(w_i u)], (S,)."""
    terms = nodes.log_length - fall
    log_sum = torch.logsumexp(terms, -1)
    weight = torch.exp(terms - log_sum.unsqueeze(-1))
    scale = rows.log_rest + nodes.peak
    values = log_sum + scale - rows.outside * torch.exp(scale)
    strata, covariates = rows.x.shape[0], rows.design.shape[-1]
    # The pull of the drawn rows at each node: its sum, and its sum over each covariate.
    pull = fall.new_zeros(strata, 1 + covariates, fall.shape[-1])
    information = fall.new_zeros(covariates, covariates)
    later = torch.exp(nodes.offset).unsqueeze(-2)
    for part, log_y in rows.parts(nodes):
        values += log_binomial_pmf(part.x, part.sizes, log_rung_odds(log_y)).sum(-1)
        y = torch.exp(log_y.clamp(LOWEST, HIGHEST)).unsqueeze(-1) * later
        hazard = torch.expm1(y)
        torch.div(y, hazard, out=hazard)
        bend = y.add_(hazard).sub_(1).mul_(hazard)  # -h'
        x = part.x.unsqueeze(-1)
        pull += torch.cat([x, x * part.design], -1).mT @ hazard
        information += _gram(part.x * (bend @ weight.unsqueeze(-1)).squeeze(-1), part.design)
    mean = pull @ weight.unsqueeze(-1)
    force, scores = mean[:, 0, 0], mean[:, 1:]
    away = ((pull[:, 1:] - scores) * weight.sqrt().unsqueeze(-2)).transpose(0, 1).flatten(1)
    return DesignTerms(values, scores.squeeze(-1), information - away @ away.mT), force


def _gram(weight: Tensor, design: Tensor, centre: Tensor | float = 0.0) -> Tensor:
    """The sum of weight times the outer square of (design - centre) over all rows, (p, p)."""
    covariates = design.shape[-1]
    result = design.new_zeros(covariates, covariates)
    number = max(1, _CELLS // (design.shape[0] * max(1, covariates)))
    for w, part in zip(weight.split(number, -1), design.split(number, -2), strict=True):
        part = part - centre
        result += (part * w.unsqueeze(-1)).flatten(0, 1).mT @ part.flatten(0, 1)
    return result
