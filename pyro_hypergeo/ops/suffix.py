# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ._cumulants import Cumulants
from ._static import largest
from .binomial import log_binomial_coefficient, log_tilted_pmf


def log_suffix_partitions(log_weights: Tensor, group_sizes: Tensor, total_max: int) -> Tensor:
    r"""Log-partition functions of the last groups, for every number of them and every total.

    .. math::

        S_{i, r} = \log \, [z^r] \prod_{j \ge i} (1 + e^{\theta_j} z)^{m_j},
        \qquad i = 0, \dots, G, \quad r = 0, \dots, \text{total\_max}

    One convolution of positive terms in log space for each group, so that every entry has full
    relative accuracy, far into the tails. Differentiable twice in the log-weights, without NaN at
    weights of 0. Cost: O(G t min(t, max m)) time with t = total_max; memory O(G t) beyond the
    convolution at work.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param int total_max: the largest total.
    :return: shape ``(..., G + 1, total_max + 1)``, in the dtype of the log-weights; ``-inf`` where
        the groups hold too few elements. Row 0 belongs to all groups, row G to none.
    :raises ValueError: if ``total_max`` is negative.

    **References:**

    [1] Chen, X.-H., Dempster, A. P. and Liu, J. S. (1994) "Weighted finite population sampling to
        maximize entropy", Biometrika 81(3): such recursions, for groups of one element.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_suffix_partitions
    >>> log_suffix_partitions(torch.zeros(2), torch.tensor([2.0, 1.0]), 3).exp()
    tensor([[1., 3., 3., 1.],
            [1., 1., 0., 0.],
            [1., 0., 0., 0.]])
    """
    if total_max < 0:
        raise ValueError(f"Expected `total_max` not to be negative, but got {total_max}.")
    shape = torch.broadcast_shapes(log_weights.shape, group_sizes.shape)
    theta = log_weights.double().expand(shape)
    present = theta != -torch.inf
    sizes = torch.where(present, group_sizes.detach().double().expand(shape), 0.0)
    theta = torch.where(present, theta, 0.0).unsqueeze(-1)
    sizes = sizes.unsqueeze(-1)
    k = _counts(min(largest(group_sizes), total_max), sizes)
    log_terms = log_binomial_coefficient(sizes, torch.minimum(k, sizes)) + k * theta
    log_terms = torch.where(k <= sizes, log_terms, -torch.inf)
    return log_suffixes(log_terms, total_max).to(log_weights.dtype)


def log_tilted_terms(known: Cumulants, max_size: int) -> Tensor:
    """Logarithms of what each group's count contributes to the law, shape (..., G, max_size + 1).

    Those of tilted binomials: up to a factor that is common to all count vectors, and such that
    the terms of probable ones are not large. At an edge the only possible count has all.
    """
    urn = known.urn
    u = (urn.log_weights + known.tilt.unsqueeze(-1)).unsqueeze(-1)
    sizes, edge = urn.sizes.unsqueeze(-1), urn.edge.unsqueeze(-1)
    k = _counts(max_size, sizes)
    inside = torch.where(k <= sizes, log_tilted_pmf(k, sizes, u), -torch.inf)
    certain = torch.where((k == edge) & urn.feasible[..., None, None], 0.0, -torch.inf)
    return torch.where(urn.interior[..., None, None], inside, certain)


def log_suffixes(log_terms: Tensor, total_max: int) -> Tensor:
    """Log-sums over the last groups' counts of their terms (..., G, M + 1), for every total.

    Shape (..., G + 1, total_max + 1).
    """
    nothing = log_terms.new_full((total_max,), -torch.inf)
    rows = [pad(nothing, (1, 0)).expand(*log_terms.shape[:-2], -1)]
    for terms in reversed(log_terms.unbind(-2)):
        rows.append(log_convolve(terms, rows[-1], total_max + 1))
    return torch.stack(rows[::-1], -2)


def log_convolve(a: Tensor, b: Tensor, length: int) -> Tensor:
    """The first entries of log sum_k exp(a_k + b_(r - k)), over the last dimensions.

    Entries of ``-inf`` are legal and have gradient 0. Cost: O(length len(a)), so the longer one
    is better the second.
    """
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    a, b = a[..., :length], b[..., :length]
    return _LogConvolve.apply(a.expand(*shape, -1), b.expand(*shape, -1), length)


class _LogConvolve(torch.autograd.Function):
    """The table of summands is built again in the backward pass rather than kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, length: int) -> Tensor:
        table = _summands(a, b, length)
        shift = _finite(table.amax(-1))
        return table.sub_(shift.unsqueeze(-1)).exp_().sum(-1).log() + shift

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        a, b, ctx.length = inputs
        ctx.save_for_backward(a, b, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, b, output = ctx.saved_tensors
        table = _summands(a, b, ctx.length) - _finite(output).unsqueeze(-1)
        shares = table.exp() * grad.unsqueeze(-1)  # (..., length, K), k from the last down
        grad_a = shares.sum(-2).flip(-1) if ctx.needs_input_grad[0] else None
        grad_b = _antidiagonal_sums(shares)[..., : b.shape[-1]] if ctx.needs_input_grad[1] else None
        return grad_a, grad_b, None


def _summands(a: Tensor, b: Tensor, length: int) -> Tensor:
    # a_k + b_(r - k) at [r, K - 1 - k]: the windows of b are views of it.
    last = a.shape[-1] - 1
    padded = pad(b, (last, length - b.shape[-1]), value=-torch.inf)
    return padded.unfold(-1, last + 1, 1) + a.flip(-1).unsqueeze(-2)


def _antidiagonal_sums(shares: Tensor) -> Tensor:
    """Sums over [r, j] of equal r + j, without the first K - 1 of them."""
    length, width = int(shares.shape[-2]), int(shares.shape[-1])
    # Rows read back one entry shorter than they were written are each shifted by one more.
    rows = pad(shares.mT, (0, width)).flatten(-2)[..., :-width]
    return rows.unflatten(-1, (width, length + width - 1)).sum(-2)[..., width - 1 :]


def _finite(x: Tensor) -> Tensor:
    return torch.where(x == -torch.inf, 0.0, x)


def _counts(largest_count: int, like: Tensor) -> Tensor:
    return torch.arange(largest_count + 1, dtype=like.dtype, device=like.device)
