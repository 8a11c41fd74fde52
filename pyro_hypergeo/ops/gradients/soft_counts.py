# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Soft counts: a continuous relaxation of the draws of Fisher's law."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..fisher.state import FisherState, solve_fisher
from ..fisher.terms import log_tilted_terms
from ..log_convolution import log_suffixes
from ..urn import Bounds
from .gumbel_softmax import at_remainders, remainders, tempered_softmax


def relaxed_sample(
    temperature: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Soft counts: a continuous relaxation of Fisher's law by Gumbel-softmax.

    The groups come one after another. Let :math:`\ell_{ik}(r)` be the exact log-probability that
    group :math:`i` has the count :math:`k` if the groups before it left :math:`r`. With Gumbel
    variables :math:`g_{ik}`,

    .. math::

        x_i(r) = \sum_k k \, \operatorname{softmax}_k
        \Bigl( \frac{\ell_{ik}(r) + g_{ik}}{\tau} \Bigr) .

    The remainder of soft counts is not an integer. Then :math:`x_i` is interpolated between the two
    integers around it, with the same Gumbel variables. So the soft counts lie between 0 and the
    sizes, and they sum to the total. As :math:`\tau \to 0`, they become exact draws. They are
    differentiable in the log-weights and in the temperature. Cost: O(G n M) for each batch entry
    and O(G M) for each draw, with M the largest size.

    :param Tensor temperature: :math:`\tau > 0`; its shape broadcasts with ``(...)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param torch.Size sample_shape: shape of the draws for each urn.
    :return: shape ``sample_shape + (..., G)``, in the dtype of the log-weights.

    **References:**

    [1] Sutter, T. M., Manduchi, L., Ryser, A. and Vogt, J. E. (2023) "Learning group importance
        using the differentiable hypergeometric distribution", ICLR.

    >>> import torch
    >>> from pyro_hypergeo.ops import relaxed_sample
    >>> relaxed_sample(
    ...     temperature=torch.tensor(0.5),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... ).sum()
    tensor(3.)
    """
    state = solve_fisher(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes, total_count)
    return relaxed_sample_given(state, temperature, sample_shape, bounds).to(log_weights.dtype)


def relaxed_sample_given(
    state: FisherState, temperature: Tensor, sample_shape: Size, bounds: Bounds
) -> Tensor:
    """Soft counts of a state, ``sample_shape + (..., G)``, in float64."""
    urn, max_total_count = state.urn, bounds.total
    # At an edge the counts are certain, and their total is that of the edge.
    total = torch.where(urn.interior, urn.total, urn.edge.sum(-1))
    all_terms = log_tilted_terms(state, min(bounds.size, max_total_count))
    suffixes = log_suffixes(all_terms, max_total_count)[..., 1:, :]
    sizes = torch.where(urn.interior.unsqueeze(-1), urn.sizes, urn.edge)
    room = sizes.flip(-1).cumsum(-1).flip(-1)
    scale = temperature.double().unsqueeze(-1)
    left = total.expand(sample_shape + total.shape)
    counts = []
    groups = zip(all_terms.unbind(-2), suffixes.unbind(-2), room.unbind(-1), strict=True)
    for terms, after, most in groups:
        noise = _gumbel(left.shape + terms.shape[-1:], terms)
        most = torch.minimum(most, total)
        # Not torch.minimum: at a tie it would pass on half of the gradient.
        left = left.clamp(min=0).clamp(max=most)
        # The two integers around the remainder. Both are possible if more than one value is.
        low = torch.minimum(left.detach().floor(), (most - 1).clamp(min=0))
        low = torch.where(urn.interior, low, left.detach())
        high = torch.where(urn.interior, torch.minimum(low + 1, most), low)
        at_low, at_high = (
            _soft_count(terms, after, noise, scale, integer, max_total_count)
            for integer in (low, high)
        )
        counts.append(at_low + (left - low) * (at_high - at_low))
        left = left - counts[-1]
    return bounds.guard(torch.stack(counts, -1), urn.log_weights)


def _gumbel(shape: Size, like: Tensor) -> Tensor:
    """Gumbel variables."""
    uniform = torch.rand(shape, dtype=like.dtype, device=like.device)
    return -torch.log(-torch.log1p(-uniform).clamp(max=-1e-300))


def _soft_count(
    terms: Tensor, after: Tensor, noise: Tensor, scale: Tensor, left: Tensor, max_total_count: int
) -> Tensor:
    """The soft count of one group if ``left`` (...) elements remain, (...)."""
    rest = at_remainders(after, remainders(left, terms, max_total_count))
    shares = tempered_softmax(terms + rest + noise, scale)
    return (shares * torch.arange(terms.shape[-1], dtype=terms.dtype, device=terms.device)).sum(-1)
