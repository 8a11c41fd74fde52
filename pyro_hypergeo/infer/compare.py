# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Compares how probable the counts are under Fisher's and Wallenius' law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..distributions.arrays import Numbers
from .fit import fit_weights
from .weights_fit import WeightsFit


class LawComparison(NamedTuple):
    """The result of :func:`compare_laws`: one fit under each law, to the same counts.

    Printed, it shows both log-likelihoods and how many times more probable the counts are under
    the better law. One more sentence says so if goodness of fit refutes both laws.

    >>> from pyro_hypergeo import compare_laws
    >>> comparison = compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]])
    >>> comparison.wallenius.log_weights
    tensor([ 0.6955, -0.6955], dtype=torch.float64)

    :ivar WeightsFit fisher: the fit under Fisher's law.
    :ivar WeightsFit wallenius: the fit under Wallenius' law.
    """

    fisher: WeightsFit
    wallenius: WeightsFit

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
        """Whether the same weights in all strata do not fit under either law (p < 0.001)."""
        return all(fit.goodness_of_fit().refuted for fit in self)

    def __str__(self) -> str:
        likelihoods = (
            f"log-likelihood: {self.fisher.log_likelihood:.3f} under Fisher's law, "
            f"{self.wallenius.log_likelihood:.3f} under Wallenius'; the counts are "
            f"e^{abs(self.log_ratio):.3f} times as probable under {self.better.capitalize()}'"
            f"{'s' if self.better == 'fisher' else ''}"
        )
        if not self.both_refuted:
            return likelihoods
        statistics = [fit.goodness_of_fit() for fit in self]
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
    :return: a :class:`LawComparison`.
    :raises ValueError: as :func:`fit_weights` does.
    :raises NoFiniteEstimateError: as :func:`fit_weights` does.
    """
    return LawComparison(
        fit_weights(group_sizes, counts, groups=groups, reference=reference),
        fit_weights(group_sizes, counts, groups=groups, reference=reference, law="wallenius"),
    )
