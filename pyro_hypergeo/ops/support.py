# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The support of a law of counts: its size, and a list of all its count vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

# Count vectors in one part of a sum.
_CHUNK = 5_000


def support_size(group_sizes: Sequence[int], total_count: int) -> int:
    """The exact number of count vectors with 0 <= x_i <= m_i that sum to n.

    Cost: O(G min(n, N - n)) additions of Python integers, with N elements.

    :param group_sizes: the sizes m_1, ..., m_G of the groups, G integers.
    :param int total_count: the number n of elements drawn.
    :return: an ``int``; 0 if no draw is possible.

    >>> from pyro_hypergeo.ops import support_size
    >>> support_size(group_sizes=[2, 2, 1], total_count=2)
    5
    """
    sizes, total = _smaller_side(group_sizes, total_count)
    if total < 0:
        return 0
    ways = np.zeros(total + 1, dtype=object)
    ways[0] = 1
    for size in sizes:
        ways = _with_group(ways, size)
    return int(ways[total])


def support_exceeds(group_sizes: Sequence[int], total_count: int, limit: int) -> bool:
    """Whether there are more than ``limit`` count vectors.

    The function stops as soon as the answer is known. That is often early. Cost: at most
    O(G min(n, N - n)) floating-point additions, with N elements.

    :param group_sizes: the sizes m_1, ..., m_G of the groups, G integers.
    :param int total_count: the number n of elements drawn.
    :param int limit: the number to compare with.
    :return: a ``bool``.

    >>> from pyro_hypergeo.ops import support_exceeds
    >>> support_exceeds(group_sizes=[10**6] * 10, total_count=10**6, limit=1000)
    True
    """
    sizes, total = _smaller_side(group_sizes, total_count)
    if total < 0 or limit < 1:
        return total >= 0
    ways = np.zeros(total + 1)
    ways[0] = 1
    rest = sum(sizes)
    for size in sizes:
        ways, rest = _with_group(ways, size), rest - size
        # Each of these ways to fill the first groups can be completed: the others have room.
        if ways[max(0, total - rest) :].max() > limit:
            return True
    return False


def _smaller_side(group_sizes: Sequence[int], total_count: int) -> tuple[list[int], int]:
    # To draw x is to leave m - x, so we take the smaller total. An empty group changes nothing.
    total = min(total_count, sum(group_sizes) - total_count)
    return [size for size in group_sizes if size > 0], total


def _with_group(ways: np.ndarray, size: int) -> np.ndarray:
    """The numbers of ways to reach each total, with one more group of this size."""
    running = np.cumsum(ways)
    ways = running.copy()
    ways[size + 1 :] -= running[: max(0, len(ways) - size - 1)]
    return ways


def enumerate_counts(group_sizes: Sequence[int], total_count: int) -> Tensor:
    """All count vectors with 0 <= x_i <= m_i that sum to n, in lexicographic order.

    Cost: O(G) vectorised steps over the result.

    :param group_sizes: the sizes m_1, ..., m_G of the groups, G integers.
    :param int total_count: the number n of elements drawn.
    :return: shape ``(support size, G)``, in int64; no rows if no draw is possible.

    >>> from pyro_hypergeo.ops import enumerate_counts
    >>> enumerate_counts(group_sizes=[2, 1], total_count=2).tolist()
    [[1, 1], [2, 0]]
    """
    sizes = torch.tensor(list(group_sizes), dtype=torch.long)
    room = sizes.sum() - sizes.cumsum(0)  # what later groups can hold
    table = torch.zeros(1, 0, dtype=torch.long)
    left = torch.tensor([total_count])
    for size, later in zip(sizes, room, strict=True):
        low = (left - later).clamp(min=0)
        options = (torch.minimum(left, size) - low + 1).clamp(min=0)
        parent = torch.arange(left.numel()).repeat_interleave(options)
        first = options.cumsum(0) - options
        count = torch.arange(parent.numel()) - first[parent] + low[parent]
        table = torch.cat([table[parent], count.unsqueeze(-1)], -1)
        left = left[parent] - count
    return table


def listed_counts(
    group_sizes: Sequence[int], total_count: int, limit: int, *, otherwise: str = ""
) -> Tensor:
    """All count vectors, or an error if there are too many.

    :param group_sizes: the sizes m_1, ..., m_G of the groups, G integers.
    :param int total_count: the number n of elements drawn.
    :param int limit: the largest number of count vectors that may be listed.
    :param str otherwise: advice for the error message.
    :return: shape ``(support size, G)``, in int64.
    :raises ValueError: if there are more than ``limit``.
    """
    sizes = list(group_sizes)
    if support_exceeds(sizes, total_count, limit):
        raise ValueError(
            f"The support of {total_count} elements drawn from groups of sizes {sizes} has "
            f"{support_size(sizes, total_count)} count vectors, more than max_enumeration = "
            f"{limit}.{otherwise and ' '}{otherwise}"
        )
    return enumerate_counts(sizes, total_count)


def sum_over(counts: Tensor, summand: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of a function over the first dimension of a list of counts, in parts."""
    parts = [summand(part).sum(0) for part in counts.split(_CHUNK)]
    return torch.stack(parts).sum(0)
