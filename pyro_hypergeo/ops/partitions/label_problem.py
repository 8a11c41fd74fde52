# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A sum over labellings, made ready for tables: shifted, sorted, and cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..tracing import inside_transform, largest, nan_unless
from .label_shifts import balancing_shifts

# Bags of similar counts share a table that serves them all. So many wasted numbers in a step take
# about as long as one more operation.
_WASTE = 8192
# Above this, a table would leave the cache of a core.
_NUMBERS = 2**17


class Chunk(NamedTuple):
    """Bags that share the lengths of their tables."""

    rows: Tensor | None  # indices of the batch; None: all
    limits: tuple[int, ...]  # largest count of all groups but the first, in sorted order

    @property
    def states(self) -> int:
        """Numbers in one table."""
        return states_of(self.limits)

    def take(self, tensor: Tensor) -> Tensor:
        """The part of a batch that belongs to this chunk."""
        return tensor if self.rows is None else tensor[self.rows]


class Chunks:
    """All chunks of a batch; a class of its own, since torch.func would take a list apart."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks)

    def __repr__(self) -> str:
        # A trace writes it into its graph, and compares graphs.
        return f"Chunks({[chunk.limits for chunk in self._chunks]})"

    def joined(self, parts: list[Tensor]) -> Tensor:
        """The results of all chunks as one batch."""
        rows = [chunk.rows for chunk in self._chunks if chunk.rows is not None]
        return torch.cat(parts)[torch.cat(rows).argsort()] if rows else parts[0]

    def guard(self, result: Tensor, sorted_limits: Tensor) -> Tensor:
        """In a trace, NaN for counts that the table of the trace cannot hold."""
        if not torch.jit.is_tracing():
            return result
        (chunk,) = self._chunks
        bounds = sorted_limits.new_tensor(chunk.limits)
        return nan_unless((sorted_limits[..., 1:] <= bounds).all(), result)


class LabelProblem(NamedTuple):
    """The sum of prod_e q[e, z_e] prod_k f_k(n_k(z)) over labellings z, times exp(offset).

    Groups are sorted: the first has the largest limit, and no dimension of the tables. The last
    two fields are for elements that take no part: absent, or with only one possible label. Their
    rows of q give the first group with certainty.
    """

    probs: Tensor  # (B, N, K): q
    log_factors: Tensor  # (B, K, J + 1): log f_k of the counts 0, ..., J
    total: Tensor  # (B,): number of elements that take part
    order: Tensor  # (B, K): which group is the first, the second, ...
    offset: Tensor  # (B,)
    idle: Tensor  # (B, N), bool
    known: Tensor  # (B, N, K): the labels that are certain, as one-hot rows; groups not sorted

    def in_given_order(self, sorted_labels: Tensor) -> Tensor:
        """Probabilities (B, N, K) of sorted groups, for the groups as they were given."""
        order = self.order.unsqueeze(-2).expand(sorted_labels.shape)
        return torch.zeros_like(sorted_labels).scatter(-1, order, sorted_labels)


def label_problem(
    scores: Tensor,
    rows: Tensor,
    repeats: Tensor,
    counts: Tensor,
    limits: Tensor,
    log_factors: Tensor,
    offset: Tensor,
    known: Tensor,
) -> tuple[LabelProblem, Tensor]:
    """Shift, normalise and sort.

    :param Tensor scores: (B, N, K); a row that takes part has an entry above ``-inf``.
    :param Tensor rows: which rows take part, (B, N).
    :param Tensor repeats: elements beside these that have equal scores for all groups, (B,).
    :param Tensor counts: wanted counts of all these elements together, (B, K).
    :param Tensor limits: the largest count of each group, (B, K).
    :param Tensor log_factors: log f_k before the shift, (B, K, J + 1); f_k may be 0 everywhere.
    :param Tensor offset: (B,).
    :param Tensor known: see :class:`LabelProblem`.
    :return: the problem, and the sorted limits (B, K).
    """
    scores = torch.where(rows.unsqueeze(-1), scores, 0.0)
    taken = rows.double()
    some = (counts > 0) | (counts <= 0).all(-1, keepdim=True)
    equal = torch.where(some, 0.0, -torch.inf).to(scores).unsqueeze(-2)
    everyone = torch.cat([scores, equal], -2)
    shifts = balancing_shifts(everyone, torch.cat([taken, repeats.unsqueeze(-1)], -1), counts)
    tilted = scores + shifts.unsqueeze(-2)
    log_sums = torch.logsumexp(tilted, -1)
    probs = (tilted - log_sums.unsqueeze(-1)).exp()
    limits, order = torch.sort(limits, dim=-1, descending=True, stable=True)
    probs = probs.gather(-1, order.unsqueeze(-2).expand(probs.shape))
    first = torch.zeros_like(probs[..., :1, :])
    first[..., 0] = 1
    j = torch.arange(log_factors.shape[-1], dtype=shifts.dtype, device=shifts.device)
    factors = log_factors - j * shifts.unsqueeze(-1)
    problem = LabelProblem(
        probs=torch.where(rows.unsqueeze(-1), probs, first),
        log_factors=factors.gather(-2, order.unsqueeze(-1).expand(factors.shape)),
        total=taken.sum(-1),
        order=order,
        offset=offset + (taken * log_sums).sum(-1),
        idle=~rows,
        known=known,
    )
    return problem, limits


def states_of(limits: tuple[int, ...]) -> int:
    """Numbers in a table for these largest counts."""
    return math.prod(limit + 1 for limit in limits)


def chunks_of(sorted_limits: Tensor, max_states: int) -> Chunks:
    """Chunks of the batch whose tables have similar lengths.

    :raises ValueError: if a bag needs a larger table than ``max_states``.
    """
    if inside_transform():
        columns = sorted_limits[..., 1:].unbind(-1)
        chunks = [Chunk(None, tuple(largest(column) for column in columns))]
    else:
        limits = sorted_limits[..., 1:].long()
        profiles: dict[tuple[int, ...], list[int]] = {}
        for row, profile in enumerate(limits.tolist()):
            profiles.setdefault(tuple(profile), []).append(row)
        none = [Chunk(None, (0,) * limits.shape[-1])]
        chunks = _merged(profiles, limits.device) if profiles else none
    most = max((chunk.states for chunk in chunks), default=0)
    if most > max_states:
        raise ValueError(
            f"Expected counts whose table has at most `max_states` = {max_states} numbers an "
            f"element, but it needs {most}: the product of (count + 1) over all groups but the "
            f"largest. Use fewer groups or smaller bags, or raise `max_states`; or draw from "
            f"`FisherPartition` and weigh the draws by importance."
        )
    return Chunks(chunks)


def uncompiled(function: Any, *arguments: Any) -> Any:
    """The result of a function that ``torch.compile`` leaves alone.

    The loop over the elements depends on counts. A compiler would have to unroll it.
    """
    # Not a decorator: that would import the compiler together with the package.
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)(*arguments)
    return function(*arguments)


def _merged(profiles: dict[tuple[int, ...], list[int]], device: torch.device) -> list[Chunk]:
    groups: list[tuple[tuple[int, ...], list[int], int]] = []
    for profile in sorted(profiles, reverse=True):
        rows, needed = profiles[profile], len(profiles[profile]) * states_of(profile)
        if groups:
            limits, before, used = groups[-1]
            joint = tuple(map(max, limits, profile))
            together = states_of(joint) * (len(before) + len(rows))
            if together - used - needed <= _WASTE:
                groups[-1] = (joint, before + rows, used + needed)
                continue
        groups.append((profile, rows, needed))
    if len(groups) == 1 and states_of(groups[0][0]) * len(groups[0][1]) <= _NUMBERS:
        return [Chunk(None, groups[0][0])]
    chunks = []
    for limits, rows, _ in groups:
        length = max(1, _NUMBERS // states_of(limits))
        for start in range(0, len(rows), length):
            part = torch.tensor(rows[start : start + length], device=device)
            chunks.append(Chunk(part, limits))
    return chunks
