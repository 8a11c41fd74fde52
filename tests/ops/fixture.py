# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Reference records, urns for hypothesis, and brute force for the tests of `ops`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import mpmath
import torch
from torch import Tensor

from pyro_hypergeo.ops import Bounds
from tests import oracle

_REFERENCE = Path(__file__).parents[1] / "data" / "fisher_reference.json"


class Record(NamedTuple):
    name: str
    log_weights: Tensor
    sizes: Tensor
    total: Tensor
    counts: Tensor
    log_prob: float
    log_partition: float
    mean: Tensor
    covariance: Tensor | None
    variance: Tensor

    @property
    def log_prob_tolerance(self) -> float:
        scale = max(1.0, abs(self.log_prob))
        return (1e-11 if self.sizes.sum() <= 1e4 else 1e-10) * scale


def _read(record: dict[str, Any]) -> Record:
    def double(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    if "log_w" in record:
        log_weights = [-math.inf if value is None else value for value in record["log_w"]]
    else:
        log_weights = [math.log(w) if w > 0 else -math.inf for w in record["w"]]
    covariance = double(record["cov"]) if "cov" in record else None
    return Record(
        record["name"],
        double(log_weights),
        double(record["m"]),
        double(record["n"]),
        double(record["x"]),
        record["log_prob"],
        record["log_P0"],
        double(record["mean"]),
        covariance,
        double(record["var"]) if covariance is None else covariance.diagonal(),
    )


RECORDS = [_read(record) for record in json.loads(_REFERENCE.read_text())]


def name_of(record: Record) -> str:
    return f"{record.name}-{record.log_prob:.0f}"


class Urn(NamedTuple):
    log_weights: list[float]
    sizes: list[int]
    total: int

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            torch.tensor(self.log_weights, dtype=torch.float64),
            torch.tensor(self.sizes, dtype=torch.float64),
            torch.tensor(self.total, dtype=torch.float64),
        )

    @property
    def bounds(self) -> Bounds:
        return Bounds(*self.tensors[1:])

    def pmf(self) -> tuple[Tensor, Tensor]:
        """All count vectors and their probabilities."""
        counts = oracle.support(self.sizes, self.total)
        logs = [oracle.log_unnormalised(x, self.log_weights, self.sizes) for x in counts]
        log_p0 = oracle.log_partition(self.log_weights, self.sizes, self.total)
        probs = [float(mpmath.exp(value - log_p0)) for value in logs]
        return torch.tensor(counts, dtype=torch.float64), torch.tensor(probs, dtype=torch.float64)


@st.composite
def urns(
    draw: st.DrawFn, max_groups: int = 5, max_size: int = 12, zero_weights: bool = True
) -> Urn:
    """Urns with weights over 12 decades, groups that may be empty, and any possible total."""
    groups = draw(st.integers(1, max_groups))
    decade = math.log(10)
    weight = st.floats(-6 * decade, 6 * decade)
    if zero_weights:
        weight = st.one_of(weight, weight, weight, weight, st.just(-math.inf))
    log_weights = draw(st.lists(weight, min_size=groups, max_size=groups))
    sizes = draw(st.lists(st.integers(0, max_size), min_size=groups, max_size=groups))
    reachable = sum(m for t, m in zip(log_weights, sizes, strict=True) if t > -math.inf)
    return Urn(log_weights, sizes, draw(st.integers(0, reachable)))


# Unequal weights and sizes, with an empty group; every call of ops can be made with one of these.
PLAIN = Urn([0.5, -1.0, 2.0, 0.3], [4, 7, 5, 0], 6)
WIDE = Urn([math.log(1e-6), 0.0, math.log(1e6)], [7, 5, 9], 11)
