# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Parameter sets for the checks of all classes, each with its truth by brute force."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Size, Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
)
from tests import oracle, wallenius_oracle


class Law(NamedTuple):
    """The law of one urn as a list: counts in lexicographic order, and their probabilities."""

    counts: Tensor  # (S, G)
    probs: Tensor  # (S,); 0 where a weight of 0 forbids the counts
    log_partition: float = math.nan

    @property
    def mean(self) -> Tensor:
        return self.probs @ self.counts

    @property
    def covariance(self) -> Tensor:
        centred = self.counts - self.mean
        return (centred * self.probs.unsqueeze(-1)).mT @ centred

    @property
    def entropy(self) -> Tensor:
        return -torch.xlogy(self.probs, self.probs).sum()

    def marginal(self, group: int, size: int) -> Tensor:
        index = self.counts[:, group].long()
        return torch.zeros(size + 1, dtype=torch.float64).index_add(0, index, self.probs)


def listed_law(sizes: list[int], total: int, weights: list[float]) -> Law:
    table = oracle.pmf(weights, sizes, total)
    log_partition = oracle.log_partition(oracle.Weights(weights), sizes, total)
    return Law(
        torch.tensor(list(table), dtype=torch.float64),
        torch.tensor([float(p) for p in table.values()], dtype=torch.float64),
        float(log_partition),
    )


def listed_wallenius_law(sizes: list[int], total: int, weights: list[float]) -> Law:
    table = wallenius_oracle.pmf(weights, sizes, total)
    counts = oracle.support(sizes, total)
    return Law(
        torch.tensor(counts, dtype=torch.float64),
        torch.tensor([float(table.get(x, 0)) for x in counts], dtype=torch.float64),
    )


class Family(NamedTuple):
    """What the tests need for each law: its class, and its truth without the package."""

    name: str
    listed: Callable[[list[int], int, list[float]], Law]
    unequal: Any  # the class of the same law that takes weights


# Add a law here, and it runs through all tests that every law must pass.
FAMILIES: dict[Any, Family] = {
    FisherHypergeometric: Family("fisher", listed_law, FisherHypergeometric),
    MultivariateHypergeometric: Family("central", listed_law, FisherHypergeometric),
    WalleniusHypergeometric: Family("wallenius", listed_wallenius_law, WalleniusHypergeometric),
}


@dataclass
class Example:
    """Arguments of a distribution, and its truth by brute force."""

    name: str
    cls: Any
    params: dict[str, Any]
    batch_shape: tuple[int, ...] = ()
    same_urn: bool = field(init=False)

    def __post_init__(self) -> None:
        urns = list(self._urns())
        self.same_urn = all(urn[:2] == urns[0][:2] for urn in urns)
        laws = [self.family.listed(*urn) for urn in urns]
        self.laws = dict(zip(self.indices, laws, strict=True))

    def __repr__(self) -> str:
        return f"{self.family.name}-{self.name}"

    @property
    def family(self) -> Family:
        return FAMILIES[self.cls]

    @property
    def indices(self) -> list[tuple[int, ...]]:
        return list(np.ndindex(*self.batch_shape))

    @property
    def groups(self) -> int:
        return torch.as_tensor(self.params["group_sizes"]).shape[-1]

    def dist(self, **kwargs: Any) -> Any:
        return self.cls(**self.params, **kwargs)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sizes, totals and weights, of the full batch shape, from the arguments alone."""
        groups = self.groups
        sizes = np.asarray(self.params["group_sizes"])
        total = np.asarray(self.params["total_count"])
        if "log_weights" in self.params:
            weights = np.exp(np.asarray(self.params["log_weights"], dtype=float))
        else:
            weights = np.asarray(self.params.get("weights", [1.0] * groups), dtype=float)
        full = (*self.batch_shape, groups)
        return (
            np.broadcast_to(sizes, full),
            np.broadcast_to(total, self.batch_shape),
            np.broadcast_to(weights, full),
        )

    def _urns(self) -> Iterator[tuple[list[int], int, list[float]]]:
        sizes, total, weights = self.arrays()
        for index in self.indices:
            m, w = sizes[index], weights[index]
            yield [int(size) for size in m], int(total[index]), [float(x) for x in w]

    def stack(self, quantity: str) -> Tensor:
        """A property of the laws, of shape batch_shape + its own."""
        values = [torch.as_tensor(getattr(law, quantity)) for law in self.laws.values()]
        return torch.stack(values).reshape(self.batch_shape + values[0].shape)

    def data(self, position: int = 0) -> Tensor:
        """A possible count vector for each batch entry."""
        values = []
        for law in self.laws.values():
            possible = law.counts[law.probs > 0]
            values.append(possible[position % len(possible)])
        return torch.stack(values).reshape(*self.batch_shape, self.groups)


T = torch.tensor

# For all classes: name, total count, sizes, batch shape. The weights follow from these.
URNS: list[tuple[str, Any, Any, tuple[int, ...]]] = [
    ("lists", 4, [5, 3, 2], ()),
    ("two-groups", 6, [7, 5], ()),
    ("one-group", 3, [5], ()),
    ("int-tensors", T(3), T([4, 2, 3]), ()),
    ("float-tensors", T(3.0, dtype=torch.float64), T([4.0, 2.0], dtype=torch.float64), ()),
    ("empty-group", 3, [4, 0, 3], ()),
    ("none-drawn", 0, [4, 2, 3], ()),
    ("all-drawn", 9, [4, 2, 3], ()),
    ("no-elements", 0, [0, 0], ()),
    ("batched-sizes", 3, [[2, 2, 4], [3, 0, 3]], (2,)),
    ("batched-totals", T([1, 4]), [3, 4], (2,)),
    ("edges-in-batch", T([0, 2, 5]), [3, 2], (3,)),
    ("grid", T([[1], [2], [5]]), T([[3, 2], [4, 2]]), (3, 2)),
]

WEIGHTS: list[tuple[str, Any, Any, dict[str, Any], tuple[int, ...]]] = [
    ("integers", 3, [4, 5], {"weights": [1, 3]}, ()),
    ("logs", 4, [5, 3, 2], {"log_weights": [0.0, 0.7, -1.2]}, ()),
    ("far-logs", 4, [5, 3, 2], {"log_weights": [0.0, 30.0, -25.0]}, ()),
    ("zero-weight", 3, [4, 5, 2], {"weights": [1.0, 0.0, 2.0]}, ()),
    ("minus-infinity", 3, [4, 5, 2], {"log_weights": T([0.3, -math.inf, 1.0]).double()}, ()),
    ("all-reachable-drawn", 6, [4, 5, 2], {"weights": [1.0, 0.0, 2.0]}, ()),
    ("batched-weights", 4, [5, 3, 2], {"weights": [[1.0, 2.0, 4.0], [1.0, 0.0, 0.5]]}, (2,)),
    (
        "grid-of-logs",
        T([[1], [2], [5]]),
        [3, 4],
        {"log_weights": T([[0.0, 1.0], [-2.0, 0.5]]).double()},
        (3, 2),
    ),
    (
        "grid-of-one-urn",
        3,
        [3, 2, 1],
        {"weights": torch.arange(1.0, 19.0, dtype=torch.float64).reshape(3, 2, 3)},
        (3, 2),
    ),
    ("singleton", 2, [[2, 3]], {"weights": [0.5, 1.5]}, (1,)),
]


def _biased(
    name: str, total: Any, sizes: Any, batch: tuple[int, ...], cls: Any = FisherHypergeometric
) -> Example:
    groups = torch.as_tensor(sizes).shape[-1]
    weights = [1.0, 2.5, 0.4][:groups]
    params = {"total_count": total, "group_sizes": sizes, "weights": weights}
    return Example(name, cls, params, batch)


EXAMPLES = [
    *(_biased(*urn) for urn in URNS),
    *(
        Example(name, FisherHypergeometric, {"total_count": n, "group_sizes": m, **weights}, batch)
        for name, n, m, weights, batch in WEIGHTS
    ),
    *(
        Example(
            name, MultivariateHypergeometric, {"total_count": total, "group_sizes": sizes}, batch
        )
        for name, total, sizes, batch in URNS
    ),
]
WALLENIUS = [
    *(_biased(*urn, WalleniusHypergeometric) for urn in URNS),
    *(
        Example(
            name, WalleniusHypergeometric, {"total_count": n, "group_sizes": m, **weights}, batch
        )
        for name, n, m, weights, batch in WEIGHTS
    ),
]
ALL = EXAMPLES + WALLENIUS


def shapes_of(params: dict[str, Any]) -> dict[str, Size]:
    return {name: torch.as_tensor(value).shape for name, value in params.items()}
