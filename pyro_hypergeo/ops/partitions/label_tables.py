# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The sum over labellings by tables: entry r is for the labellings so far that have counts r."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..autograd import apply
from ..tracing import inside_transform, static_shape
from .label_problem import Chunk, Chunks, LabelProblem

# The backward pass keeps the tables of all elements up to so many numbers: 256 MiB. Above, it keeps
# some, and computes those between again.
_KEPT = 2**25


def log_label_sum(scores: Tensor, problem: LabelProblem, chunks: Chunks) -> Tensor:
    """The logarithm of the sum, (B,); the gradient in the scores is each label's probability."""
    return apply(_LogSum, scores, *problem, chunks)


def marginals_of(scores: Tensor, problem: LabelProblem, chunks: Chunks) -> Tensor:
    """The probability of each label, (B, N, K); a derivative of it raises an error."""
    return apply(_Marginals, scores, *problem, chunks)


def _marginals(problem: LabelProblem, chunks: Chunks) -> Tensor:
    sorted_labels = chunks.joined([_marginals_of(problem, chunk) for chunk in chunks])
    # The row of an idle element is 0 only if no labelling is possible.
    known = torch.where(sorted_labels.sum(-1, keepdim=True) > 0, problem.known, 0.0)
    labels = problem.in_given_order(sorted_labels)
    return torch.where(problem.idle.unsqueeze(-1), known, labels)


class Tables:
    """The tables of a chunk. Entry r of a table after t elements has their label counts.

    The dimensions are those of the groups but the first. The second group has the shortest stride.
    """

    def __init__(self, problem: LabelProblem, chunk: Chunk) -> None:
        self.probs = chunk.take(problem.probs)
        self.elements = static_shape(self.probs)[-2]
        self.states = chunk.states
        self.steps = self.probs.unbind(-2)
        self.views: list[tuple[int, tuple[int, int, int]]] = []
        self.strides: list[int] = []
        stride = 1
        for group, limit in enumerate(chunk.limits, start=1):
            self.strides.append(stride)
            if limit > 0:
                length = limit + 1
                self.views.append((group, (self.states // (stride * length), length, stride)))
            stride *= limit + 1
        self.limits = chunk.limits
        self.factors = self._factors(chunk.take(problem.log_factors), chunk.take(problem.total))

    def start(self) -> Tensor:
        """The table of no element."""
        table = torch.zeros_like(self.factors[0])
        table[..., 0] = 1
        return table

    def after(self, table: Tensor, element: int) -> Tensor:
        """The table after one more element."""
        probs = self.steps[element]
        result = table * probs[..., :1]
        for group, shape in self.views:
            old, new = table.unflatten(-1, shape), result.unflatten(-1, shape)
            _add(new[..., 1:, :], old[..., :-1, :], probs[..., group, None, None, None])
        return result

    def before(self, table: Tensor, later: Tensor, element: int) -> tuple[Tensor, Tensor]:
        """The same backwards, and the probability of each label of the element.

        :param Tensor table: the table before the element.
        :param Tensor later: for each entry after the element, the sum over all that may follow.
        """
        probs = self.steps[element]
        result = later * probs[..., :1]
        shares = torch.zeros_like(probs)
        shares[..., 0] = torch.linalg.vecdot(table, later)
        for group, shape in self.views:
            old, new = later.unflatten(-1, shape)[..., 1:, :], result.unflatten(-1, shape)
            shares[..., group] = (table.unflatten(-1, shape)[..., :-1, :] * old).sum((-3, -2, -1))
            _add(new[..., :-1, :], old, probs[..., group, None, None, None])
        return result, shares * probs

    def last(self) -> Tensor:
        """The table of all elements."""
        table = self.start()
        for element in range(self.elements):
            table = self.after(table, element)
        return table

    def _factors(self, log_factors: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """The factors f at all entries of the last table, and the logarithm of their scale."""
        # The first dimension has the longest stride, so it is added last.
        logs = torch.zeros_like(log_factors[..., 0, :1])
        drawn = torch.zeros(1, dtype=torch.long, device=total.device)
        for group, limit in enumerate(self.limits, start=1):
            own = log_factors[..., group, : limit + 1]
            logs = (own.unsqueeze(-1) + logs.unsqueeze(-2)).flatten(-2)
            counts = torch.arange(limit + 1, device=drawn.device)
            drawn = (counts.unsqueeze(-1) + drawn.unsqueeze(-2)).flatten(-2)
        # What the groups leave is the count of the first one.
        rest = total.unsqueeze(-1) - drawn
        most = static_shape(log_factors)[-1] - 1
        index = rest.clamp(0, most).long().expand(*static_shape(log_factors)[:-2], self.states)
        first = log_factors[..., 0, :].gather(-1, index)
        logs = logs + torch.where((rest >= 0) & (rest <= most), first, -torch.inf)
        scale = logs.amax(-1, keepdim=True)
        scale = torch.where(scale == -torch.inf, 0.0, scale)
        return (logs - scale).exp(), scale.squeeze(-1)


def _add(table: Tensor, other: Tensor, weight: Tensor) -> None:
    """Add another table, times a weight, in place."""
    if inside_transform():  # torch.func does not know `addcmul_`
        table.add_(other * weight)
    else:
        table.addcmul_(other, weight)


def _log_sum_of(problem: LabelProblem, chunk: Chunk) -> Tensor:
    tables = Tables(problem, chunk)
    factors, scale = tables.factors
    return torch.linalg.vecdot(tables.last(), factors).log() + scale


def _marginals_of(problem: LabelProblem, chunk: Chunk) -> Tensor:
    """Probabilities of the labels, (B, N, K), groups sorted; 0 where no labelling is possible."""
    tables = Tables(problem, chunk)
    elements, last = tables.elements, tables.start()
    everything = elements * math.prod(static_shape(last)) <= _KEPT
    length = max(1, elements if everything else math.isqrt(elements) + 1)
    firsts = []
    for first in range(0, elements, length):
        segment = [last]
        for element in range(first, min(first + length, elements)):
            last = tables.after(segment[-1] if everything else last, element)
            if everything:
                segment.append(last)
        firsts.append(segment)
    later = tables.factors[0]
    mass = torch.linalg.vecdot(last, later).unsqueeze(-1)
    later = later * torch.where(mass > 0, 1 / mass, mass)
    rows: list[Tensor] = []
    while firsts:
        segment = firsts.pop()
        first = len(firsts) * length
        end = min(first + length, elements)
        for element in range(first + len(segment) - 1, end - 1):
            segment.append(tables.after(segment[-1], element))
        for element in reversed(range(first, end)):
            later, shares = tables.before(segment[element - first], later, element)
            rows.append(shares)
    return torch.stack(rows[::-1], -2) if rows else torch.zeros_like(tables.probs)


class _LogSum(torch.autograd.Function):
    """The logarithm of the sum. The backward pass computes the tables again, to save memory."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, *arguments: Any) -> Tensor:
        problem, chunks = LabelProblem(*arguments[:-1]), arguments[-1]
        return chunks.joined([_log_sum_of(problem, chunk) for chunk in chunks]) + problem.offset

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.chunks = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        labels = apply(_Marginals, *ctx.saved_tensors, ctx.chunks)
        return (grad[..., None, None] * labels, *(None,) * len(ctx.saved_tensors))

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Tensor:
        labels = _marginals(LabelProblem(*ctx.saved_tensors[1:]), ctx.chunks)
        return (labels * direction).sum((-2, -1))


class _Marginals(torch.autograd.Function):
    """The gradient. It depends on the scores; a second derivative must not be 0 without a word."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor, *arguments: Any) -> Tensor:
        return _marginals(LabelProblem(*arguments[:-1]), arguments[-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise NotImplementedError(_ONCE)

    @staticmethod
    def jvp(ctx: Any, *directions: Any) -> Tensor:
        raise NotImplementedError(_ONCE)


_ONCE = (
    "Sums over labellings of more than two groups can be differentiated once only. Take a second "
    "derivative as a finite difference of gradients."
)
