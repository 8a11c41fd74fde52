# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Which groups the strata of a table compare."""

from __future__ import annotations

from torch import Tensor


def comparable_sets(sizes: Tensor, counts: Tensor) -> list[list[int]]:
    """The sets of groups that strata compare, directly or over other groups.

    A stratum compares the groups that have elements in it, if some elements are drawn and some are
    left. The set of most groups comes first, and among those the one of most elements. A group that
    no stratum compares is a set of its own.

    :param sizes: sizes, of shape (strata, G).
    :param counts: drawn counts, of the same shape.
    """
    drawn, total = counts.sum(-1), sizes.sum(-1)
    informative = (drawn > 0) & (drawn < total)
    parent = list(range(sizes.shape[-1]))

    def root(group: int) -> int:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    first: dict[int, int] = {}  # the first group of each stratum
    for stratum, group in (sizes * informative.unsqueeze(-1)).nonzero().tolist():
        parent[root(group)] = root(first.setdefault(stratum, group))
    found: dict[int, list[int]] = {}
    for group in range(len(parent)):
        found.setdefault(root(group), []).append(group)
    elements = sizes.sum(0).tolist()
    return sorted(
        found.values(), key=lambda groups: (-len(groups), -sum(elements[g] for g in groups))
    )


def largest_comparable(sizes: Tensor, counts: Tensor) -> int:
    """The largest group of the largest set, but rather none that seems to be a total.

    A group seems to be a total if it is as large as two or more others together, in each stratum.
    """
    groups = comparable_sets(sizes, counts)[0]
    elements = sizes.sum(0)
    plain = [group for group in groups if not _as_large_as_the_others(sizes, group)]
    return max(plain or groups, key=lambda group: elements[group].item())


def _as_large_as_the_others(sizes: Tensor, group: int) -> bool:
    own = sizes[:, group]
    others = sizes.sum(-1) - own
    several = (sizes > 0).sum(-1) > 2
    return bool(((own == 0) | ((own == others) & several)).all())
