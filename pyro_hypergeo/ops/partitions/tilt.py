# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The tilt: shifts of the columns of scores that bring the expected sizes to the given ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..autograd import apply
from ..tracing import inside_transform, may_branch

# Measured for 6 to 1000 elements, 3 to 30 groups, sizes from equal to N - K + 1, 1, ..., 1. For
# scores with a standard deviation of 1: 4 to 7 steps. For 10: 7 to 20. For 100 to 10,000: up to 31.
_STEPS = 40
# All of so many are taken where Python must not look.
_BLIND_STEPS = 30
# The last ones are at the temperature 1.
_AT_ONE = 8
# The steps end once they are so short: the error after a step h is below h^2.
_CLOSE = 1e-7
# Or once the sizes are right to so many elements, for each element.
_EXACT = 1e-13
# Scores are divided until they differ from an additive fit by no more than this. Larger ones have
# nearly certain assignments far from the solution, and Newton's method does not see past these.
_MILD = 8.0
# Groups whose size varies less than this are certain. It keeps the rounding of their sizes from
# making a step huge: all other groups would have to wait.
_RIDGE = 1e-12
# The rounding of Newton's matrix, relative to its diagonal.
_ROUNDING = 1e-14
_TINY = 1e-280


def partition_tilt(log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Column shifts of scores at which independent labels have the given expected sizes.

    .. math::

        \sum_e \frac{e^{s_{ek} + b_k}}{\sum_j e^{s_{ej} + b_j}} = n_k

    The shifts :math:`b` minimise the convex function
    :math:`\sum_e \log \sum_k e^{s_{ek} + b_k} - \sum_k n_k b_k`. The method is Newton's, in
    :math:`K` dimensions. A step of length h (its largest component minus its smallest) is shortened
    to log(1 + h). Then it always goes down, because the third derivatives are bounded by the second
    ones. Large scores are solved at a higher temperature first.

    Only differences of shifts matter. The shifts of the groups that are not empty have the sum 0.
    An empty group has the shift ``-inf``.

    Sizes may be real numbers. The result is differentiable to any order in the scores, and in the
    sizes that are not 0, as real numbers. Sizes keep their sum, so the gradient in the sizes has
    the sum 0.

    If scores of ``-inf`` allow the sizes only with certain labels, no finite shifts exist. Then the
    result is finite, and the sizes are right to rounding. The same holds if labels are certain to
    rounding. If they do not allow them at all, the
    result is finite and has no meaning. If the sizes do not have the sum :math:`N`, all are changed
    by the same amount.

    Cost: O(N K^2 + K^3) for each step; 4 to 7 steps for scores with a standard deviation of 1, up
    to 30 for scores in the hundreds.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` forbids a label.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, not negative, with sum :math:`N`.
    :return: :math:`b`, shape ``(..., K)``, in the dtype of the scores.

    **References:**

    [1] Sinkhorn, R. and Knopp, P. (1967) "Concerning nonnegative matrices and doubly stochastic
        matrices", Pacific Journal of Mathematics 21. The same problem, by alternate scaling.

    [2] Bach, F. (2010) "Self-concordant analysis for logistic regression", Electronic Journal of
        Statistics 4. The bound that makes the steps safe.

    >>> import torch
    >>> from pyro_hypergeo.ops import partition_tilt
    >>> log_scores = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    >>> b = partition_tilt(log_scores, sizes=torch.tensor([2.0, 1.0]))
    >>> (log_scores + b).softmax(-1).sum(-2)
    tensor([2.0000, 1.0000])
    """
    return tilt_at(log_scores, sizes, solve_tilt(log_scores, sizes)).to(log_scores.dtype)


def solve_tilt(log_scores: Tensor, sizes: Tensor) -> Tensor:
    """The shifts, (..., K), in float64 and without a gradient; 0 for empty groups."""
    scores, wanted = _broadcast(log_scores.detach(), sizes.detach())
    if inside_transform():
        return _solve(scores, wanted)
    return _minimum(_problem(scores, wanted), wanted)


# One operation: a trace, and compiled code, need not hold all steps. Its first call takes a second.
@torch.library.custom_op(
    "pyro_hypergeo::solve_tilt",
    mutates_args=(),
    schema="(Tensor log_scores, Tensor sizes) -> Tensor",
)
def _solve(log_scores: Tensor, sizes: Tensor) -> Tensor:
    return _minimum(_problem(log_scores, sizes), sizes)


@_solve.register_fake
def _solve_fake(log_scores: Tensor, sizes: Tensor) -> Tensor:
    return torch.empty_like(sizes, memory_format=torch.contiguous_format)


@_solve.register_vmap
def _solve_mapped(
    info: Any, in_dims: tuple[int | None, int | None], log_scores: Tensor, sizes: Tensor
) -> tuple[Tensor, int]:
    batch = info.batch_size
    scores, wanted = (
        x.expand(batch, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip((log_scores, sizes), in_dims, strict=True)
    )
    return _solve(scores, wanted), 0


def tilt_at(log_scores: Tensor, sizes: Tensor, shifts: Tensor) -> Tensor:
    """:func:`partition_tilt` in float64, where :func:`solve_tilt` has given the shifts already."""
    scores, wanted = _broadcast(log_scores, sizes)
    result = apply(_Tilt, scores, wanted, shifts, forward_mode=_TiltForwardMode)
    return result.masked_fill(wanted.detach() <= 0, -torch.inf)


def _broadcast(log_scores: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    batch = torch.broadcast_shapes(log_scores.shape[:-2], sizes.shape[:-1])
    scores = log_scores.double().expand(batch + log_scores.shape[-2:])
    return scores, sizes.double().expand(batch + sizes.shape[-1:])


class _Problem(NamedTuple):
    """Scores and sizes without what could give a NaN.

    Elements are in the last dimension: a softmax over few groups is several times faster so.
    """

    scores: Tensor  # (..., K, N); -inf for labels that are not possible
    possible: Tensor  # (..., K, N), bool
    present: Tensor  # (..., K), bool: the groups that are not empty
    lost: Tensor  # (..., 1, N), bool: elements without a possible label; they have all

    def probabilities(self, shifts: Tensor) -> Tensor:
        """Of each label, (..., K, N)."""
        return torch.softmax(self.scores + shifts.unsqueeze(-1), -2)

    def centred(self, values: Tensor) -> Tensor:
        """Values of the groups that are not empty, with sum 0; (..., K)."""
        values = torch.where(self.present, values, 0.0)
        number = self.present.sum(-1, keepdim=True).clamp(min=1)
        return torch.where(self.present, values - values.sum(-1, keepdim=True) / number, 0.0)

    def solve(self, probs: Tensor, right: Tensor, ridge: float = 0.0) -> Tensor:
        """The inverse of the matrix d(expected sizes) / d(shifts), times a centred vector."""
        # The matrix is the Laplacian of a graph: its rows have the sum 0. Sums of its other entries
        # give the diagonal, so nothing cancels. We solve in units of standard deviations, as the
        # groups may have very different ones. The null space is made regular.
        shared = torch.matmul(probs, probs.mT)
        shared = shared - torch.diag_embed(shared.diagonal(dim1=-2, dim2=-1))
        variance = shared.sum(-1) + ridge
        scale = torch.where(variance > _TINY, variance.detach().clamp(min=_TINY).rsqrt(), 1.0)
        null = torch.where(self.present, 1 / scale, 0.0)
        null = null / null.square().sum(-1, keepdim=True).clamp(min=_TINY).sqrt()
        own = torch.where(variance > _TINY, variance * scale.square() + _ROUNDING, 1.0)
        matrix = torch.diag_embed(own) - shared * scale.unsqueeze(-1) * scale.unsqueeze(-2)
        matrix = matrix + null.unsqueeze(-1) * null.unsqueeze(-2)
        # `solve_ex` neither raises an error nor asks a device.
        result = torch.linalg.solve_ex(matrix, (right * scale).unsqueeze(-1)).result
        return self.centred(result.squeeze(-1) * scale)

    def change(self, probs: Tensor, scores: Tensor) -> Tensor:
        """How the probabilities change with the scores; as a matrix it is symmetric."""
        # Relative to the most probable label, whose probability is the sum of the others less: its
        # change would cancel.
        scores = scores.expand(probs.shape)
        scores = scores - scores.take_along_dim(probs.argmax(-2, keepdim=True), -2)
        change = probs * (scores - (probs * scores).sum(-2, keepdim=True))
        return change.masked_fill(self.lost, 0.0)


def _problem(log_scores: Tensor, sizes: Tensor) -> _Problem:
    present = sizes > 0
    scores = log_scores.mT.masked_fill(~present.unsqueeze(-1), -torch.inf).contiguous()
    possible = scores > -torch.inf
    lost = ~possible.any(-2, keepdim=True)
    return _Problem(scores.masked_fill(lost, 0.0), possible, present, lost)


def _minimum(problem: _Problem, sizes: Tensor) -> Tensor:
    """The shifts, (..., K); 0 for empty groups."""
    # The first guess is exact for scores that are a sum of a row and a column.
    number = problem.possible.sum(-2, keepdim=True).clamp(min=1)
    away = torch.where(problem.possible, problem.scores, 0.0)
    away = away - away.sum(-2, keepdim=True) / number
    away = torch.where(problem.possible, away, 0.0)
    level = away.sum(-1) / problem.possible.sum(-1).clamp(min=1)
    shifts = torch.where(problem.present, torch.log(sizes) - level, 0.0)
    away = torch.where(problem.possible, away - level.unsqueeze(-1), 0.0)
    flat = away.flatten(-2)
    largest = flat.abs().amax(-1) if flat.shape[-1] else flat.sum(-1)
    heat = (largest / _MILD).clamp(min=1.0).unsqueeze(-1)
    look = may_branch(shifts)
    warm = bool((heat > 1).any()) if look else True
    exact = _EXACT * max(1, problem.scores.shape[-1])
    steps = _STEPS if look else _BLIND_STEPS
    for left in reversed(range(steps)):
        u = problem.scores + shifts.unsqueeze(-1)
        probs = torch.softmax(u / heat.unsqueeze(-1) if warm else u, -2)
        gap = problem.centred(sizes - probs.sum(-1))
        step = problem.solve(probs, gap, _RIDGE)
        length = step.amax(-1, keepdim=True) - step.amin(-1, keepdim=True)
        step = step * (torch.log1p(length) / length.clamp(min=1e-12))
        shifts = shifts + (step * heat if warm else step)
        if look and not warm:
            near = (length < _CLOSE) | (gap.abs().amax(-1, keepdim=True) < exact)
            if near.all():
                break
        if warm:
            heat = torch.where(length < 1, 0.5 * heat, heat)
            heat = heat.clamp(1.0, 2.0 ** max(0, left - _AT_ONE))
            warm = bool((heat > 1).any()) if look else True
    return problem.centred(shifts)


class _Tilt(torch.autograd.Function):
    """The shifts, 0 for empty groups; their derivative is that of the implicit function."""

    generate_vmap_rule = True

    @staticmethod
    def forward(log_scores: Tensor, sizes: Tensor, shifts: Tensor) -> Tensor:
        return shifts.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # The output is saved with its own gradient, so the backward pass is differentiable too.
        ctx.save_for_backward(*inputs[:2], output)
        ctx.save_for_forward(*inputs[:2], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        log_scores, sizes, shifts = ctx.saved_tensors
        problem = _problem(log_scores, sizes)
        probs = problem.probabilities(shifts)
        by_size = problem.solve(probs, problem.centred(grad))
        by_score = -problem.change(probs, by_size.unsqueeze(-1)).mT
        return by_score, by_size, None


class _TiltForwardMode(_Tilt):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, along_scores: Tensor | None, along_sizes: Tensor | None, *_: Any) -> Tensor:
        log_scores, sizes, shifts = ctx.saved_tensors
        problem = _problem(log_scores, sizes)
        probs = problem.probabilities(shifts)
        gap = torch.zeros_like(shifts) if along_sizes is None else along_sizes
        if along_scores is not None:
            gap = gap - problem.change(probs, along_scores.mT).sum(-1)
        return problem.solve(probs, problem.centred(gap))
