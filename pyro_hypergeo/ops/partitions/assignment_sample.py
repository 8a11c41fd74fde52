# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws of labels with known counts."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..errors import at_index, first_of
from ..inverse_cdf import index_by_cdf, uniform_below_one
from ..tracing import inside_transform, static_shape
from .assignments import MAX_STATES
from .bags import bags_of, problem_of
from .label_problem import Chunk, LabelProblem, chunks_of
from .label_tables import Tables


def assignment_sample(
    log_scores: Tensor,
    sizes: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
    *,
    present: Tensor | None = None,
    max_states: int = MAX_STATES,
) -> Tensor:
    r"""Exact draws of labels, given how many elements each group has.

    .. math::

        p(z \mid n) \propto \exp \sum_e s_{e, z_e} \ \text{ for } \ n(z) = n

    The table of :func:`log_assignments` is built once. Then labels are drawn from the last element
    to the first. Cost: O(N K S) once, with S numbers in a table, and O(N K) for each draw. Memory:
    O(N S). Not differentiable.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` rules a label out.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``.
    :param torch.Size sample_shape: shape of the draws for each bag.
    :param Tensor present: which elements there are, as in :func:`log_assignments`.
    :param int max_states: as in :func:`log_assignments`.
    :return: labels 0, ..., K - 1, integers of shape ``sample_shape + (..., N)``; -1 for absent
        elements.
    :raises ValueError: as :func:`log_assignments`, if no labelling is possible, and if a score is
        NaN.

    >>> import torch
    >>> from pyro_hypergeo.ops import assignment_sample
    >>> scores = torch.tensor([[0.0, 0.0], [0.0, -torch.inf], [0.0, -torch.inf]])
    >>> assignment_sample(log_scores=scores, sizes=torch.tensor([2, 1]))
    tensor([1, 0, 0])
    """
    with torch.no_grad():
        bags = bags_of(log_scores, sizes, present)
        problem, limits = problem_of(bags)
        chunks = chunks_of(limits, max_states)
        draws = Size(sample_shape).numel()
        parts = [_draws_of(problem, chunk, draws) for chunk in chunks]
        labels = chunks.joined([part[0] for part in parts]).movedim(-2, 0)  # (draws, B, N)
        mass = bags.unflattened(chunks.joined([part[1] for part in parts]))
        wrong = ~(mass > 0)
        if not inside_transform() and wrong.any():
            first = first_of(wrong)
            found = "a NaN or infinite score was found" if mass[first].isnan() else "there is none"
            raise ValueError(
                f"Expected `log_scores` of shape {tuple(log_scores.shape)} and `sizes` of shape "
                f"{tuple(sizes.shape)} to leave a possible labelling, but "
                f"{found}{at_index(first, 'batch index')}."
            )
        return labels.reshape((*sample_shape, *bags.batch_shape, static_shape(labels)[-1]))


def _draws_of(problem: LabelProblem, chunk: Chunk, draws: int) -> tuple[Tensor, Tensor]:
    """Labels (B, M, N), and a number: 0 where no labelling is possible, else positive, (B,)."""
    tables = Tables(problem, chunk)
    made = [tables.start()]
    for element in range(tables.elements):
        made.append(tables.after(made[-1], element))
    cdf = (made.pop() * tables.factors[0]).cumsum(-1)
    mass = cdf[..., -1]
    state = _inverse(cdf, draws)
    strides = state.new_tensor([0, *tables.strides])
    columns = []
    while made:
        table, probs = made.pop(), tables.steps[len(made)]
        weights = [table.gather(-1, state)]
        for stride, limit in zip(tables.strides, tables.limits, strict=True):
            before = table.gather(-1, (state - stride).clamp(min=0))
            weights.append(torch.where(state // stride % (limit + 1) > 0, before, 0.0))
        label = _pick(torch.stack(weights, -1) * probs.unsqueeze(-2))
        state = (state - strides[label]).clamp(min=0)
        columns.append(label)
    empty = state.unsqueeze(-1)[..., :0]
    labels = torch.stack(columns[::-1], -1) if columns else empty
    order = chunk.take(problem.order)
    shape = *static_shape(labels)[:-1], static_shape(order)[-1]
    labels = order.unsqueeze(-2).expand(shape).gather(-1, labels)
    known = chunk.take(problem.known)
    certain = torch.where(known.sum(-1) > 0, known.argmax(-1), -1)
    idle = chunk.take(problem.idle).unsqueeze(-2)
    return torch.where(idle, certain.unsqueeze(-2), labels), mass


def _inverse(cdf: Tensor, draws: int) -> Tensor:
    """For each draw, the first entry (B, M) above a uniform part of the total."""
    shape = *static_shape(cdf)[:-1], draws
    target = uniform_below_one(shape, cdf) * cdf[..., -1:]
    return torch.searchsorted(cdf, target, right=True).clamp(max=static_shape(cdf)[-1] - 1)


def _pick(weights: Tensor) -> Tensor:
    """A label for each row of weights, (..., K) to (...)."""
    return index_by_cdf(weights.cumsum(-1)).clamp(max=static_shape(weights)[-1] - 1)
