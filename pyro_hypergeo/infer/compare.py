# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Which law do the counts speak for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .fit import WeightsFit, fit_weights


class LawComparison(NamedTuple):
    """The same counts under both laws, each at its own maximum-likelihood weights."""

    fisher: WeightsFit
    wallenius: WeightsFit

    @property
    def log_ratio(self) -> float:
        """Log-likelihood under Wallenius' law less that under Fisher's, in nats."""
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
    group_sizes: Tensor | Sequence[Any],
    counts: Tensor | Sequence[Any],
    *,
    reference: int | None = None,
) -> LawComparison:
    """
    Fits weights under Fisher's and Wallenius' law, and says which of them the counts speak for.

    Both have the same number of parameters, so the difference of their log-likelihoods is half
    the difference of any information criterion, and nearly the logarithm of the Bayes factor. A
    single stratum cannot tell them apart: weights can be found under which either law has its
    mode there. It takes several strata with the same weights and different shares drawn.

    Example::

        >>> from pyro_hypergeo import compare_laws
        >>> comparison = compare_laws([[20, 30], [20, 30]], [[18, 12], [3, 2]])
        >>> comparison.better
        'wallenius'

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``.
    :param counts: drawn counts, of the same shape.
    :param int reference: index of the group whose log-weight is 0; if not given, the log-weights
        have mean 0.
    :return: a :class:`LawComparison`.
    :raises ValueError: as :func:`fit_weights`.
    """
    return LawComparison(
        fit_weights(group_sizes, counts, reference=reference),
        fit_weights(group_sizes, counts, reference=reference, law="wallenius"),
    )
