# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Compares how probable the counts are under Fisher's and Wallenius' law."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ..distributions.arrays import Numbers
from .fit import fit_weights
from .goodness_of_fit import GoodnessOfFit
from .regression import RegressionFit, fit_regression
from .weights_fit import WeightsFit


class LawComparison(NamedTuple):
    """The result of :func:`compare_laws`: one fit under each law, to the same counts.

    Printed, it shows both log-likelihoods and how many times more probable the counts are under
    the better law. One more sentence says so if goodness of fit refutes both laws.

    >>> from pyro_hypergeo import compare_laws
    >>> comparison = compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]])
    >>> comparison.wallenius.log_weights
    tensor([ 0.6955, -0.6955], dtype=torch.float64)

    :ivar fisher: the fit under Fisher's law: a :class:`WeightsFit`, or a :class:`RegressionFit` if
        a design was given.
    :ivar wallenius: the fit under Wallenius' law.
    """

    fisher: WeightsFit | RegressionFit
    wallenius: WeightsFit | RegressionFit

    @property
    def log_ratio(self) -> float:
        """Log-likelihood under Wallenius' law minus log-likelihood under Fisher's, in nats."""
        return float(self.wallenius.log_likelihood - self.fisher.log_likelihood)

    @property
    def better(self) -> str:
        """``"fisher"`` or ``"wallenius"``: the law under which the counts are more probable."""
        return "wallenius" if self.log_ratio > 0 else "fisher"

    @property
    def both_refuted(self) -> bool:
        """Whether the same weights in all strata do not fit under either law (p < 0.001).

        It is False for regressions: see their :attr:`~RegressionFit.dispersion`.
        """
        return bool(self._tests) and all(test.refuted for test in self._tests)

    @property
    def _tests(self) -> list[GoodnessOfFit]:
        return [fit.goodness_of_fit() for fit in self if isinstance(fit, WeightsFit)]

    def __str__(self) -> str:
        likelihoods = (
            f"log-likelihood: {self.fisher.log_likelihood:.3f} under Fisher's law, "
            f"{self.wallenius.log_likelihood:.3f} under Wallenius'; the counts are "
            f"e^{abs(self.log_ratio):.3f} times as probable under {self.better.capitalize()}'"
            f"{'s' if self.better == 'fisher' else ''}"
        )
        if isinstance(self.fisher, RegressionFit) and isinstance(self.wallenius, RegressionFit):
            fisher, wallenius = self.fisher.dispersion, self.wallenius.dispersion
            return (
                f"{likelihoods}\nPearson's dispersion is {fisher:.2f} under Fisher's law and "
                f"{wallenius:.2f} under Wallenius'."
            )
        statistics = self._tests
        if not all(test.refuted for test in statistics):
            return likelihoods
        return (
            f"{likelihoods}\nNeither law fits with the same weights in all strata: Pearson's "
            f"statistic is {statistics[0].statistic:.2f} under Fisher's law and "
            f"{statistics[1].statistic:.2f} under Wallenius', on "
            f"{statistics[0].degrees_of_freedom} degrees of freedom."
        )


def compare_laws(
    group_sizes: Numbers,
    counts: Numbers,
    *,
    groups: Sequence[str] | None = None,
    reference: int | str | None = None,
    design: Numbers | None = None,
    strata: Any = None,
    offset: Numbers | None = None,
    names: Sequence[str] | None = None,
) -> LawComparison:
    """
    Fit weights under Fisher's and Wallenius' law, and compare how probable the counts are.

    Each stratum is an urn of its own, and all strata have the same weights. Both laws have the same
    number of parameters. So the difference of the log-likelihoods is half the difference of any
    information criterion, and it is close to the logarithm of the Bayes factor. One stratum cannot
    tell the laws apart: with suitable weights, each law is most probable at the counts of that
    stratum. You need several strata with the same weights and different shares drawn.

    The better law need not fit well: see ``both_refuted``. Cost: two calls of
    :func:`fit_weights`, O(strata G^2 + G^3) for each of a few steps. A step under Wallenius' law
    takes longer.

    Example::

        >>> from pyro_hypergeo import compare_laws
        >>> comparison = compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]])
        >>> comparison.better
        'wallenius'
        >>> comparison.log_ratio
        0.6135

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``: a list, a numpy array, a
        tensor, or a DataFrame whose columns are the groups.
    :param counts: drawn counts, of the same shape.
    :param groups: names of the groups, as in :func:`fit_weights`.
    :param reference: index or name of the group whose log-weight is 0; if not given, the
        log-weights have mean 0.
    :type reference: int or str
    :param design: covariates of the rows of a long table. Then the fits are regressions, and
        ``group_sizes`` and ``counts`` have the shape ``(rows,)``.
    :param strata: labels of the rows, as in :func:`fit_regression`; only with a design.
    :param offset: known part of the log-weights of the rows; only with a design.
    :param names: names of the covariates; only with a design.
    :return: a :class:`LawComparison`.
    :raises ValueError: as :func:`fit_weights` and :func:`fit_regression` do; or if an argument of
        one is given for the other.
    :raises NoFiniteEstimateError: as they do.
    """
    for_design = {"strata": strata, "offset": offset, "names": names}
    for_weights = {"groups": groups, "reference": reference}
    wrong = for_design if design is None else for_weights
    given = [name for name, value in wrong.items() if value is not None]
    if given:
        raise ValueError(
            f"Expected `{given[0]}` only {'with' if design is None else 'without'} a `design`."
        )
    if design is not None:
        fit = partial(
            fit_regression,
            design,
            counts,
            group_sizes=group_sizes,
            strata=strata,
            offset=offset,
            names=names,
        )
        return LawComparison(fit(), fit(law="wallenius"))
    return LawComparison(
        fit_weights(group_sizes, counts, groups=groups, reference=reference),
        fit_weights(group_sizes, counts, groups=groups, reference=reference, law="wallenius"),
    )
