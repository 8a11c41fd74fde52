# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws from Fisher's law by inverse cdf, down a binary tree of sums of groups."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Size, Tensor
from torch.nn.functional import pad

from ..inverse_cdf import uniform_below_one
from ..tracing import inside_transform
from ..urn import Bounds
from .bulk_marginals import width_of_mass, window_start
from .state import FisherState

# A parent's draw may have a probability below 1e-17. This keeps the row of its children above 0.
_FLOOR = 1e-140


# While torch.jit.trace runs, shapes are tensors. Where they decide what is done, int(...) makes
# them Python numbers.


class _Level(NamedTuple):
    """One level of the tree: the laws of sums of neighbouring groups, where they have mass."""

    start: Tensor  # (..., nodes): the sum that the first probability belongs to
    probs: Tensor  # (..., nodes, W): of W consecutive sums, up to a factor
    mean: Tensor  # (..., nodes)
    size: Tensor  # (..., nodes): the elements of its groups


def sample_by_tree(state: FisherState, sample_shape: Size, bounds: Bounds) -> Tensor:
    """Exact draws, ``sample_shape + (..., G)``, down a binary tree of sums of groups.

    The root is the total. Each node splits its sum between its two children, by their law given
    this sum. All nodes of a level are split at once. So there are log2 G steps, and none depends on
    data. Cost of a draw: O(n log G), or O(sqrt(N) log G) if that is less. For many draws, the cdf
    of every split is first put in a table; then a draw costs O(G log n).
    """
    levels = _build(state, bounds)
    # The draws are the last dimension: tables that they share broadcast, and all copies are long.
    counts = state.urn.total[..., None, None]
    counts = counts.expand(*counts.shape[:-1], sample_shape.numel())
    for depth in reversed(range(len(levels))):
        at_root = depth == len(levels) - 1
        counts = _split(levels[depth], None if at_root else levels[depth + 1], counts)
    return counts.movedim(-1, 0).reshape(sample_shape + counts.shape[:-1]).contiguous()


def _build(state: FisherState, bounds: Bounds) -> list[_Level]:
    """The levels from the groups up to the two children of the root; none for one group."""
    urn = state.urn
    u = (urn.log_weights + state.tilt.unsqueeze(-1)).detach()
    cap = min(bounds.size, bounds.total)
    levels = [_leaves(urn.sizes, u, cap)]
    while int(levels[-1].start.shape[-1]) > 2:
        cap = min(2 * cap, bounds.total)
        levels.append(_merge(levels[-1], cap))
    return levels if u.shape[-1] > 1 else []


def _leaves(sizes: Tensor, u: Tensor, cap: int) -> _Level:
    mean = sizes * torch.sigmoid(u)
    width = width_of_mass(cap)
    start = window_start(mean, sizes.clamp(max=cap), width)
    steps = torch.arange(width - 1, dtype=u.dtype, device=u.device)
    k = start.unsqueeze(-1) + steps
    # The pmf of a binomial from ratios of neighbours: this needs no log-gamma.
    log_ratio = torch.log((sizes.unsqueeze(-1) - k).clamp(min=0) / (k + 1)) + u.unsqueeze(-1)
    log_probs = pad(log_ratio.cumsum(-1), (1, 0))
    probs = torch.exp(log_probs - log_probs.amax(-1, keepdim=True))
    return _Level(start, _keep_possible(start, probs, sizes), mean, sizes)


def _merge(level: _Level, cap: int) -> _Level:
    """The next level: sums of pairs of nodes, cut to where they have mass, up to `cap` elements."""
    left, right = _children(level)
    width = width_of_mass(cap)
    length = 2 * int(level.probs.shape[-1]) - 1
    full = _convolve(left.probs, right.probs)
    mean, size = left.mean + right.mean, left.size + right.size
    start = window_start(mean, size.clamp(max=cap), width)
    index = _indices(start - left.start - right.start, width)
    inside = (index >= 0) & (index < length)
    probs = full.gather(-1, index.clamp(0, length - 1)) * inside
    probs = probs / probs.amax(-1, keepdim=True)
    merged = _Level(start, _keep_possible(start, probs, size), mean, size)
    # The last of an odd number of nodes has no partner on this level. It goes up alone.
    alone = _nodes(level, slice(2 * mean.shape[-1], None))
    return _Level(
        torch.cat([merged.start, alone.start], -1),
        torch.cat([merged.probs, pad(alone.probs, (0, width - alone.probs.shape[-1]))], -2),
        torch.cat([merged.mean, alone.mean], -1),
        torch.cat([merged.size, alone.size], -1),
    )


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    """The convolution over the last dimensions, in full length."""
    length = int(a.shape[-1]) + int(b.shape[-1]) - 1
    if not torch.compiler.is_compiling():
        return torch.fft.irfft(torch.fft.rfft(a, n=length) * torch.fft.rfft(b, n=length), n=length)
    # The same by products of real matrices: torch.compile has no code for complex numbers.
    index = torch.arange(length, device=a.device)
    frequency = index[: length // 2 + 1]
    angle = (index.unsqueeze(-1) * frequency % length).to(a.dtype) * (2 * math.pi / length)
    cos, sin = torch.cos(angle), torch.sin(angle)
    a_cos, a_sin = (torch.matmul(a, x[: a.shape[-1]]) for x in (cos, sin))
    b_cos, b_sin = (torch.matmul(b, x[: b.shape[-1]]) for x in (cos, sin))
    both = torch.where((frequency == 0) | (2 * frequency == length), 1.0, 2.0) / length
    real, imag = a_cos * b_cos - a_sin * b_sin, a_cos * b_sin + a_sin * b_cos
    return torch.matmul(real * both, cos.mT) + torch.matmul(imag * both, sin.mT)


def _keep_possible(start: Tensor, probs: Tensor, size: Tensor) -> Tensor:
    possible = _indices(start - size, probs.shape[-1]) <= 0
    return torch.where(possible, probs.clamp(min=_FLOOR), 0.0)


def _indices(first: Tensor, width: int) -> Tensor:
    return first.long().unsqueeze(-1) + torch.arange(width, device=first.device)


def _nodes(level: _Level, which: slice) -> _Level:
    return _Level(
        level.start[..., which],
        level.probs[..., which, :],
        level.mean[..., which],
        level.size[..., which],
    )


def _children(level: _Level) -> tuple[_Level, _Level]:
    paired = int(level.start.shape[-1]) // 2 * 2
    return _nodes(level, slice(0, paired, 2)), _nodes(level, slice(1, paired, 2))


def _split(level: _Level, parent: _Level | None, total: Tensor) -> Tensor:
    """The sums of the nodes of a level, given the sums of their parents.

    :param _Level level: the level of the children.
    :param _Level parent: the level above; ``None`` at the root, where the sum is certain.
    :param Tensor total: sums of the parents, (batch, parents, draws).
    :return: sums of the children, (batch, children, draws).
    """
    left, right = _children(level)
    pairs = int(left.start.shape[-1])
    total, alone = total[..., :pairs, :], total[..., pairs:, :]
    uniform = uniform_below_one(total.shape, total)
    sums = 1 if parent is None else int(parent.probs.shape[-1])
    if int(total.shape[-1]) > sums:
        first_sum = total[..., 0] if parent is None else parent.start[..., :pairs]
        step = _step_by_table(left, right, total, first_sum, sums, uniform)
    else:
        cdf = _conditional_cdf(left, right, total)
        step = (cdf <= uniform.unsqueeze(-1) * cdf[..., -1:]).sum(-1)
    drawn = left.start.unsqueeze(-1) + step
    halves = torch.stack([drawn, total - drawn], -2).flatten(-3, -2)
    return torch.cat([halves, alone], -2) if int(alone.shape[-2]) else halves


def _conditional_cdf(left: _Level, right: _Level, total: Tensor) -> Tensor:
    """The left child's cdf given the sum of both, up to a factor; shape of total + (W,)."""
    width = int(left.probs.shape[-1])
    # The right child's probabilities in reverse order, shifted as the total says.
    last = (total - (left.start + right.start).unsqueeze(-1)).long().unsqueeze(-1)
    index = last - torch.arange(width, device=total.device)
    partner = right.probs.unsqueeze(-2).expand(index.shape).gather(-1, index.clamp(0, width - 1))
    joint = left.probs.unsqueeze(-2) * partner
    return joint.mul_((index >= 0) & (index < width)).cumsum(-1)


def _step_by_table(
    left: _Level, right: _Level, total: Tensor, first_sum: Tensor, sums: int, uniform: Tensor
) -> Tensor:
    """How far above its start the left child's sum is, from a table of all cdfs."""
    if sums == 1:
        row = None
    else:
        row = (total - first_sum.unsqueeze(-1)).to(_index_type())
        if inside_transform() or total.device.type != "cpu":
            row = row.clamp(0, sums - 1)
        else:
            # The draws have some of the sums only. The others need no cdf.
            low, high = (min(max(int(end), 0), sums - 1) for end in torch.aminmax(row))
            row, first_sum, sums = (
                (row - low).clamp_(0, high - low),
                first_sum + low,
                high - low + 1,
            )
    table = _conditional_cdfs(left, right, first_sum, sums)
    return left.probs.shape[-1] - 1 - _look_up(table, row, uniform)


def _conditional_cdfs(left: _Level, right: _Level, first_sum: Tensor, sums: int) -> Tensor:
    """The same cdfs for consecutive sums, (batch, nodes, sums, W); the left's largest count first.

    The next sum shifts the right child's probabilities by one. So the rows are overlapping views.
    """
    width = int(left.probs.shape[-1])
    index = _indices(first_sum - left.start - right.start - width + 1, sums + width - 1)
    inside = (index >= 0) & (index < width)
    shifted = right.probs.gather(-1, index.clamp(0, width - 1)) * inside
    return (left.probs.flip(-1).unsqueeze(-2) * shifted.unfold(-1, width, 1)).cumsum(-1)


def _look_up(table: Tensor, row: Tensor | None, uniform: Tensor) -> Tensor:
    """For each draw, how many entries of its row are at most its target, by bisection.

    The table has the shape (batch, nodes, rows, W), and the rows (batch, nodes, draws); ``None`` if
    there is one row. The target is a uniform number below 1, times the last entry of the row. So it
    is below the last entry.
    """
    rows, width = int(table.shape[-2]), int(table.shape[-1])
    nodes = [int(n) for n in table.shape[:-2]]
    flat = table.reshape(-1)
    node = torch.arange(math.prod(nodes), dtype=_index_type(), device=table.device)
    first = node.view(nodes).unsqueeze(-1) * (rows * width)

    def entries(place: Tensor, ahead: int) -> Tensor:
        return flat[ahead:].index_select(0, place.reshape(-1)).view(place.shape)

    if row is None:
        first, last = first.expand(uniform.shape), table[..., -1]
    else:
        first = torch.add(first, row, alpha=width)
        last = entries(first, width - 1)
    target, place = uniform * last, first
    while width > 1:
        half = width // 2
        place = torch.add(place, entries(place, half - 1) <= target, alpha=half)
        width -= half
    return place - first


def _index_type() -> torch.dtype:
    # int32 and index_select are several times faster than int64 and indexing. But vmap makes a
    # gather of it, which takes int64 only.
    return torch.int64 if inside_transform() else torch.int32
