# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sums and convolutions of positive terms in log space, and the suffix sums that they give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .autograd import apply


def log_suffixes(log_terms: Tensor, total_max: int) -> Tensor:
    """For the last groups and every total: the log-sum of the products of their terms.

    :param Tensor log_terms: log-terms of the counts 0, ..., M of each group, shape
        ``(..., G, M + 1)``.
    :param int total_max: the largest total.
    :return: shape ``(..., G + 1, total_max + 1)``. Row i belongs to the groups i, i + 1, ...; the
        last row belongs to no group.
    """
    nothing = log_terms.new_full((total_max,), -torch.inf)
    rows = [pad(nothing, (1, 0)).expand(*log_terms.shape[:-2], -1)]
    for terms in reversed(log_terms.unbind(-2)):
        rows.append(log_convolve(terms, rows[-1], total_max + 1))
    return torch.stack(rows[::-1], -2)


def log_sum_exp(log_terms: Tensor) -> Tensor:
    """log sum_k exp(a_k) over the last dimension. Where all terms are 0, the gradient is 0."""
    # There, the gradient of torch.logsumexp is NaN.
    shift = _finite(log_terms.detach().amax(-1, keepdim=True))
    total = (log_terms - shift).exp().sum(-1)
    positive = total > 0
    logarithm = torch.log(torch.where(positive, total, 1.0)) + shift.squeeze(-1)
    return torch.where(positive, logarithm, -torch.inf)


def log_convolve(a: Tensor, b: Tensor, length: int) -> Tensor:
    """log sum_k exp(a_k + b_(r - k)) for r = 0, ..., length - 1, over the last dimensions.

    Entries of ``-inf`` are legal and have gradient 0. Cost: O(length len(a)). So pass the longer
    input as ``b``.
    """
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    a, b = a[..., :length], b[..., :length]
    return apply(_LogConvolve, a.expand(*shape, -1), b.expand(*shape, -1), length)


class _LogConvolve(torch.autograd.Function):
    """The convolution. To save memory, the backward pass builds the table of summands again."""

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
    # Entry [r, K - 1 - k] is a_k + b_(r - k). The windows of b are views, not copies.
    last = a.shape[-1] - 1
    padded = pad(b, (last, length - b.shape[-1]), value=-torch.inf)
    return padded.unfold(-1, last + 1, 1) + a.flip(-1).unsqueeze(-2)


def _antidiagonal_sums(shares: Tensor) -> Tensor:
    """The sum over all [r, j] with the same r + j, without the first K - 1 sums."""
    length, width = int(shares.shape[-2]), int(shares.shape[-1])
    # The rows are written one after the other, and read back one entry shorter. So each row is
    # shifted by one more than the row before.
    rows = pad(shares.mT, (0, width)).flatten(-2)[..., :-width]
    return rows.unflatten(-1, (width, length + width - 1)).sum(-2)[..., width - 1 :]


def _finite(x: Tensor) -> Tensor:
    return torch.where(x == -torch.inf, 0.0, x)
