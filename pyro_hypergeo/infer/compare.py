# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Compares how probable the counts are under Fisher's and Wallenius' law."""

from __future__ import annotations

from typing import NamedTuple

from ..distributions.parameters import Numbers
from .fit import WeightsFit, fit_weights


class LawComparison(NamedTuple):
    """The result of :func:`compare_laws`: one fit under each law, to the same counts.

    Printed, it shows both log-likelihoods and how many times more probable the counts are under
    the better law.

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

    def __str__(self) -> str:
        return (
            f"log-likelihood: {self.fisher.log_likelihood:.3f} under Fisher's law, "
            f"{self.wallenius.log_likelihood:.3f} under Wallenius'; the counts are "
            f"e^{abs(self.log_ratio):.3f} times as probable under {self.better.capitalize()}'"
            f"{'s' if self.better == 'fisher' else ''}"
        )


def compare_laws(
    group_sizes: Numbers,
    counts: Numbers,
    *,
    reference: int | None = None,
) -> LawComparison:
    """
    Fit weights under Fisher's and Wallenius' law, and compare how probable the counts are.

    Each stratum is an urn of its own, and all strata have the same weights. Both laws have the same
    number of parameters. So the difference of the log-likelihoods is half the difference of any
    information criterion, and it is close to the logarithm of the Bayes factor. One stratum cannot
    tell the laws apart: with suitable weights, each law is most probable at the counts of that
    stratum. You need several strata with the same weights and different shares drawn.

    The result does not say whether the better law fits well. Cost: two calls of
    :func:`fit_weights`, O(strata G^2 + G^3) for each of a few steps. A step under Wallenius' law
    takes longer.

    Example::

        >>> from pyro_hypergeo import compare_laws
        >>> comparison = compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]])
        >>> comparison.better
        'wallenius'
        >>> comparison.log_ratio
        0.6135

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``.
    :param counts: drawn counts, of the same shape.
    :param int reference: index of the group whose log-weight is 0; if not given, the log-weights
        have mean 0.
    :return: a :class:`LawComparison`.
    :raises ValueError: as :func:`fit_weights` does.
    :raises NoFiniteEstimateError: as :func:`fit_weights` does.
    """
    return LawComparison(
        fit_weights(group_sizes, counts, reference=reference),
        fit_weights(group_sizes, counts, reference=reference, law="wallenius"),
    )
