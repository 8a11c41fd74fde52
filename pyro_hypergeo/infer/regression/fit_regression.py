# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood regression of log-weights on covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...distributions.arrays import Numbers
from ...distributions.laws import law_of
from ...ops.law import Law
from ..newton import newton
from .existence import check_existence
from .likelihood import TableLikelihood
from .regression_fit import RegressionFit
from .strata import StratifiedTable


def fit_regression(
    design: Numbers,
    counts: Numbers,
    *,
    strata: Any = None,
    group_sizes: Numbers | None = None,
    offset: Numbers | None = None,
    law: str | Law = "fisher",
    names: Sequence[str] | None = None,
    ridge: float = 0.0,
) -> RegressionFit:
    r"""
    Weights that depend on covariates: hypergeometric regression, conditional on all totals.

    Each row is a group of elements in a stratum: an urn of its own. The log-weight of its elements
    is

    .. math:: \theta_i = x_i^\top \beta + \text{offset}_i ,

    and all strata have the same coefficients :math:`\beta`. In each stratum the counts have the
    probability

    .. math::

        p(x) \propto \prod_i \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad \sum_i x_i = n ,

    or that of Wallenius' law. With Fisher's law and rows of one element, this is exact conditional
    logistic regression: any number of cases in any number of elements. It is also Cox regression
    with exact (discrete) ties, if each event time is a stratum. There is no intercept: what all
    rows of a stratum share has no effect.

    Newton's method uses the exact score and information, in closed form; it needs 5 to 8 steps.
    Cost of a step: O(rows (p^2 + 21 p)).

    Example::

        >>> from pyro_hypergeo import fit_regression
        >>> age = [31, 44, 52, 38, 47, 29, 60, 35]
        >>> case = [0, 1, 0, 0, 1, 0, 1, 1]
        >>> fit = fit_regression(age, case, names=["age"])
        >>> fit.coefficients
        tensor([0.0901], dtype=torch.float64)

    **References:**

    [1] Gail, M. H., Lubin, J. H. and Rubinstein, L. V. (1981) "Likelihood calculations for matched
        case-control studies and survival studies with tied death times", Biometrika 68(3).

    [2] Cox, D. R. (1972) "Regression models and life-tables", Journal of the Royal Statistical
        Society B 34(2): the discrete model.

    :param design: covariates, of shape ``(rows, p)``, or ``(rows,)`` for one: an array, a tensor, a
        list or a DataFrame, whose columns give the names.
    :param counts: drawn counts, of shape ``(rows,)``.
    :param strata: labels, one for each row, in any order; all rows are one stratum if not given.
    :param group_sizes: number of elements of each row; 1 if not given.
    :param offset: known part of the log-weights; ``-inf`` for a row that cannot be drawn.
    :param law: ``"fisher"`` (each element is taken or left), ``"wallenius"`` (elements are taken
        one after the other), or a :class:`~pyro_hypergeo.ops.Law`.
    :type law: str or Law
    :param names: names of the covariates; the columns of a DataFrame, or ``"x1"``, ``"x2"``, ....
    :param float ridge: the penalty :math:`\frac12 \text{ridge} \, \lVert \beta \rVert^2` on the
        coefficients in the units of the covariates. With it, an estimate always exists.
    :return: a :class:`RegressionFit`.
    :raises ValueError: if an argument has a wrong shape or a value that is not allowed, or if in
        every stratum nothing or everything is drawn.
    :raises NoFiniteEstimateError: if the likelihood has no maximum, or more than one; it names the
        covariates.
    """
    law = law_of(law)
    if not (0 <= ridge < float("inf")):
        raise ValueError(f"Expected `ridge` to be finite and not negative, but got {ridge}.")
    table = StratifiedTable(
        design,
        counts,
        strata=strata,
        group_sizes=group_sizes,
        offset=offset,
        names=names,
        collapse=law.draws_elements,
    )
    if table.strata == 0:
        raise ValueError(
            "Expected `counts` with a stratum in which something is drawn and something is left: "
            f"in all {len(table.labels)} strata nothing or everything is drawn."
        )
    cells = table.cells
    if ridge == 0:
        check_existence(cells.design, cells.counts, cells.sizes, cells.strata, table.names)
    likelihood = TableLikelihood(table, law, ridge)
    scale = likelihood.scale
    start = torch.zeros_like(scale)
    null = likelihood.at(start)
    found = newton(likelihood.at, start, at_start=null)
    penalty = 0.5 * ridge * (found.point / scale).square().sum()
    both = scale * scale.unsqueeze(-1)
    return RegressionFit(
        found.point / scale,
        torch.linalg.inv(found.likelihood.information) / both,
        float(found.likelihood.value + penalty),
        float(null.value),
        found.iterations,
        ridge,
        null._replace(gradient=null.gradient * scale, information=null.information * both),
        found.likelihood.information * both,
        likelihood,
    )
