# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The maximum-likelihood estimate of the weights that have a finite one."""

from __future__ import annotations

from typing import NamedTuple

from ..distributions.laws import LAWS
from ..infer import GoodnessOfFit, NoFiniteEstimateError, WeightsFit, fit_weights
from ..infer.maximum import log_probability
from .table import Table

# Small counts need simulated tables. A large table gets fewer of them, and a very large one none.
_SIMULATIONS, _FEWEST_SIMULATIONS, _MAX_CELLS = 10_000, 1_000, 20_000_000


class Estimate(NamedTuple):
    """Maximum-likelihood log-weights relative to the reference; None if not finite."""

    log_weights: list[float | None]
    standard_errors: list[float | None]
    log_likelihood: float | None
    log_likelihood_equal: float
    why_not: str  # why some are not finite; empty if all are
    goodness: GoodnessOfFit | None  # None if there is no estimate to test
    tested: list[str]  # the groups with a finite estimate


def estimate(table: Table, reference: int, law: str = "fisher") -> Estimate:
    """Estimate the weights by maximum likelihood.

    Some weights may have no finite estimate. Then the others are estimated without their groups,
    and the result says why.
    """
    try:
        fit = fit_weights(table.sizes, table.counts, reference=reference, law=law)
    except NoFiniteEstimateError as error:
        (comparable,) = (part for part in error.groups if reference in part)
        return _partial(table, reference, law, comparable)
    return Estimate(
        fit.log_weights.tolist(),
        fit.standard_errors.tolist(),
        fit.log_likelihood.item(),
        fit.log_likelihood_equal.item(),
        "",
        _goodness(fit),
        table.groups,
    )


def _partial(table: Table, reference: int, law: str, comparable: list[int]) -> Estimate:
    # The weights of the other groups go to 0 or to infinity. In this limit they no longer influence
    # the counts of the comparable groups. So we estimate from the comparable groups alone.
    log_weights: list[float | None] = [None] * len(table.groups)
    errors: list[float | None] = [None] * len(table.groups)
    log_weights[reference] = errors[reference] = 0.0
    goodness = None
    if len(comparable) > 1:
        part = fit_weights(
            table.sizes[:, comparable],
            table.counts[:, comparable],
            reference=comparable.index(reference),
            law=law,
        )
        for index, group in enumerate(comparable):
            log_weights[group] = part.log_weights[index].item()
            errors[group] = part.standard_errors[index].item()
        goodness = _goodness(part)
    reasons = [
        _reason(table, group, reference)
        for group in range(len(table.groups))
        if group not in comparable
    ]
    return Estimate(
        log_weights,
        errors,
        None,
        _equal(table, law),
        "; ".join(dict.fromkeys(reasons)),
        goodness,
        [table.groups[group] for group in comparable],
    )


def _goodness(fit: WeightsFit) -> GoodnessOfFit:
    goodness = fit.goodness_of_fit()
    simulations = min(_SIMULATIONS, _MAX_CELLS // fit.counts.numel())
    if goodness.small_counts and simulations >= _FEWEST_SIMULATIONS:
        return fit.goodness_of_fit(simulations)
    return goodness


def _reason(table: Table, group: int, reference: int) -> str:
    return (
        _one_sided(table, group)
        or _one_sided(table, reference)
        or f"no stratum bounds the weight of {table.groups[group]} relative to "
        f"{table.groups[reference]} on both sides"
    )


def _one_sided(table: Table, group: int) -> str:
    size, drawn = table.sizes[:, group].sum(), table.counts[:, group].sum()
    if size == 0:
        return f"{table.groups[group]} has no elements"
    if drawn == 0:
        return f"{table.groups[group]} was never drawn"
    if drawn == size:
        return f"all elements of {table.groups[group]} were drawn"
    return ""


def _equal(table: Table, law: str) -> float:
    theta = table.sizes.new_zeros(len(table.groups))
    return log_probability(LAWS[law].law, theta, table.sizes, table.counts).item()
