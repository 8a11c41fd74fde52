# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A random subset of unknown size: its evidence, and the posterior of its size and its members."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..binomial import log_binomial_coefficient
from ..log_convolution import log_convolve, log_sum_exp
from .elementary_symmetric import product_tree


class SubsetPosterior(NamedTuple):
    """What :func:`subset_posterior` returns: the evidence, and the posterior of the subset."""

    log_evidence: Tensor
    """The log-evidence, shape ``(...)``."""
    log_size_probs: Tensor
    """Posterior log-probabilities of the sizes 0, ..., K, shape ``(..., K + 1)``."""
    inclusion_probs: Tensor
    """The probability of each element to be in the subset, shape ``(..., d)``."""


def log_subset_evidence(log_bayes_factors: Tensor, log_size_prior: Tensor) -> Tensor:
    r"""Log-evidence of a random subset of ``d`` elements, summed over all :math:`2^d` subsets.

    The size :math:`k` of the subset has the prior :math:`p(k)`. Given the size, all subsets are
    alike. The Bayes factor :math:`B_j` says how well the data of element :math:`j` fit if it is in
    the subset, relative to how well they fit if it is not:

    .. math::

        \log \sum_S p(S) \prod_{j \in S} B_j
        = \log \sum_k \frac{p(k)}{\binom{d}{k}} \, e_k(B_1, \dots, B_d)

    This is the spike-and-slab prior with an exchangeable choice of the subset. Given the size, the
    posterior is Fisher's law of ``d`` groups of size 1, with the weights :math:`B`. The gradient in
    the log-Bayes factors holds the inclusion probabilities. The gradient in the log-prior holds the
    posterior probabilities of the sizes. Differentiable twice. Cost: O(d K), in log2 d steps.

    :param Tensor log_bayes_factors: :math:`\log B`, shape ``(..., d)``; ``-inf`` rules an element
        out.
    :param Tensor log_size_prior: :math:`\log p(k)` of the sizes 0, ..., K, shape ``(..., K + 1)``
        with K of d at most. It may have any sum: its logarithm is added to the result. ``-inf``
        rules a size out. Larger sizes are ruled out.
    :return: shape ``(...)``, in the dtype of the Bayes factors; ``-inf`` if all subsets are ruled
        out.
    :raises ValueError: if ``log_size_prior`` has no size, or a size above d.

    **References:**

    [1] Castillo, I. and van der Vaart, A. (2012) "Needles and straw in a haystack: posterior
        concentration for possibly sparse sequences", Annals of Statistics 40.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_subset_evidence
    >>> log_subset_evidence(  # (1 + (4 + 2) / 2 + 4 * 2) / 3
    ...     log_bayes_factors=torch.tensor([4.0, 2.0]).log(),
    ...     log_size_prior=torch.full((3,), 1 / 3).log(),
    ... ).exp()
    tensor(4.)
    """
    coefficients = _coefficients(log_bayes_factors, log_size_prior)
    levels = product_tree(log_bayes_factors, coefficients.shape[-1] - 1)
    return log_sum_exp(_log_joint(levels, coefficients)).to(log_bayes_factors.dtype)


def subset_posterior(log_bayes_factors: Tensor, log_size_prior: Tensor) -> SubsetPosterior:
    r"""Evidence of a random subset, posterior of its size, and inclusion probabilities.

    The model is that of :func:`log_subset_evidence`:

    .. math::

        p(k \mid B) \propto \frac{p(k)}{\binom{d}{k}} \, e_k(B) , \qquad
        \Pr[j \in S \mid B] = \frac{\partial}{\partial \log B_j}
        \log \sum_k \frac{p(k)}{\binom{d}{k}} \, e_k(B) .

    All terms are positive. So each probability has a small relative error, far into the tails.
    Differentiable. Cost: O(d K), in 2 log2 d steps.

    :param Tensor log_bayes_factors: :math:`\log B`, shape ``(..., d)``; ``-inf`` rules an element
        out.
    :param Tensor log_size_prior: :math:`\log p(k)` of the sizes 0, ..., K, shape ``(..., K + 1)``
        with K of d at most; ``-inf`` rules a size out.
    :return: a :class:`SubsetPosterior`, in the dtype of the Bayes factors. If all subsets are ruled
        out, the logarithms are ``-inf`` and the inclusion probabilities are 0.
    :raises ValueError: if ``log_size_prior`` has no size, or a size above d.

    >>> import torch
    >>> from pyro_hypergeo.ops import subset_posterior
    >>> posterior = subset_posterior(
    ...     log_bayes_factors=torch.tensor([4.0, 2.0]).log(),
    ...     log_size_prior=torch.full((3,), 1 / 3).log(),
    ... )
    >>> posterior.log_size_probs.exp()
    tensor([0.0833, 0.2500, 0.6667])
    >>> posterior.inclusion_probs
    tensor([0.8333, 0.7500])
    """
    dtype, elements = log_bayes_factors.dtype, log_bayes_factors.shape[-1]
    coefficients = _coefficients(log_bayes_factors, log_size_prior)
    levels = product_tree(log_bayes_factors, coefficients.shape[-1] - 1)
    log_joint = _log_joint(levels, coefficients)
    log_evidence = log_sum_exp(log_joint)
    possible = (log_evidence > -torch.inf).unsqueeze(-1)
    divisor = torch.where(possible, log_evidence.unsqueeze(-1), 0.0)
    members = levels[0][..., :elements, 1] + _log_others(levels, coefficients)[..., :elements, 1]
    return SubsetPosterior(
        log_evidence.to(dtype),
        (log_joint - divisor).to(dtype),
        (members - divisor).exp().to(dtype),
    )


def _coefficients(log_bayes_factors: Tensor, log_size_prior: Tensor) -> Tensor:
    """The log-probability of each subset of the sizes 0, ..., K."""
    d, sizes = log_bayes_factors.shape[-1], log_size_prior.shape[-1]
    if not 1 <= sizes <= d + 1:
        raise ValueError(
            f"Expected `log_size_prior` of shape (..., K + 1) with K between 0 and {d}, the number "
            f"of elements, but got {tuple(log_size_prior.shape)}."
        )
    k = torch.arange(sizes, dtype=torch.float64, device=log_size_prior.device)
    return log_size_prior.double() - log_binomial_coefficient(torch.full_like(k, d), k)


def _log_joint(levels: list[Tensor], coefficients: Tensor) -> Tensor:
    """The log-evidence of each size."""
    return levels[-1][..., 0, : coefficients.shape[-1]] + coefficients


def _log_others(levels: list[Tensor], coefficients: Tensor) -> Tensor:
    """For each element, out of the subset or in it: the log-sum over all other elements."""
    missing = levels[-1].shape[-1] - coefficients.shape[-1]
    sums = pad(coefficients, (0, missing), value=-torch.inf).unsqueeze(-2)
    # Down the tree: each polynomial gets the sum over everything that is not below it.
    for factors in levels[-2::-1]:
        width = factors.shape[-1]
        siblings = factors.unflatten(-2, (-1, 2)).flip(-2, -1)
        above = sums[..., : siblings.shape[-3], :].unsqueeze(-2)
        sums = log_convolve(siblings, above, 2 * width - 1)[..., width - 1 :].flatten(-3, -2)
    return sums
