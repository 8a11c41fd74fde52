# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .autograd import apply


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
    return apply(_LogConvolve, a.expand(*shape, -1), b.expand(*shape, -1), length)


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
