# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What a call costs without a clock: tensor operations, and the numbers that they write.

Unlike times, these counts are the same on every machine, so two versions of the code can be
compared on a busy one: `python -m tests.benchmarks.work`. Views are not counted. With `--keep`, the
counts are written to tests/data/work.json; `test_work.py` keeps them from growing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.distributions import Multinomial
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    WalleniusHypergeometric,
    WalleniusHypergeometricStraightThrough,
)
from tests.benchmarks.gradients import ESTIMATORS
from tests.benchmarks.tables import Row, plain

KEPT = Path(__file__).parents[1] / "data" / "work.json"

_VIEWS = {
    "_unsafe_view",
    "alias",
    "as_strided",
    "detach",
    "diagonal",
    "expand",
    "movedim",
    "permute",
    "select",
    "slice",
    "split",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
}


class Work(NamedTuple):
    operations: int
    numbers: int


class _Counter(TorchDispatchMode):
    """Counts the operations that compute, and the numbers that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name.partition("::")[2] not in _VIEWS:
            self.operations += 1
            self.numbers += sum(x.numel() for x in tree_leaves(out) if torch.is_tensor(x))
        return out


def work(call: Callable[[], object]) -> Work:
    """Of the second call: the first may fill caches."""
    call()
    torch.manual_seed(0)  # some samplers go on until all draws are accepted
    with _Counter() as counter:
        call()
    return Work(counter.operations, counter.numbers)


def _calls(
    batch: int, groups: int, size: int, total: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    torch.manual_seed(0)
    sizes = torch.full((groups,), float(size))
    theta = torch.randn(batch, groups, requires_grad=True)
    fixed = theta.detach()

    def urn(law: Any, log_weights: torch.Tensor, **options: Any) -> Any:
        return law(total, sizes, log_weights=log_weights, validate_args=False, **options)

    x = urn(FisherHypergeometric, fixed).sample()

    def log_prob(law: Any) -> Callable[[], object]:
        return lambda: urn(law, theta).log_prob(x).sum().backward()

    def step(law: Any, **options: Any) -> Callable[[], object]:
        def call() -> None:
            soft = urn(law, theta, **options)
            y = soft.rsample()
            (y.square().sum() + soft.log_prob(y).sum()).backward()

        return call

    yield "Fisher log_prob + backward", log_prob(FisherHypergeometric)
    yield "Fisher sample", lambda: urn(FisherHypergeometric, fixed).sample()
    for name in ESTIMATORS:
        title = f'straight-through "{name}" + log_prob + backward'
        yield title, step(FisherHypergeometricStraightThrough, estimator=name)
    yield "Wallenius log_prob + backward", log_prob(WalleniusHypergeometric)
    yield "Wallenius mean", lambda: urn(WalleniusHypergeometric, fixed).mean
    if batch * groups < 100:  # else minutes
        title = "Wallenius straight-through + log_prob + backward"
        yield title, step(WalleniusHypergeometricStraightThrough)
    multinomial = {"logits": theta, "validate_args": False}
    title = "torch's Multinomial log_prob + backward"
    yield title, lambda: Multinomial(total, **multinomial).log_prob(x).sum().backward()


def rows() -> Iterator[Row]:
    """What the main calls cost, for a small batch and a large one."""
    for batch, groups, size, total in ((2, 4, 500, 700), (64, 10, 256, 256)):
        urns = f"{batch} x {groups} groups of {size}, n = {total}"
        for name, call in _calls(batch, groups, size, total):
            operations, numbers = work(call)
            per_group = round(numbers / batch / groups)
            yield {
                "urns": urns,
                "call": name,
                "operations": operations,
                "numbers per group": per_group,
            }


def main() -> None:
    """Print the counts, or keep them for the test."""
    torch.set_num_threads(1)
    counted = list(rows())
    print(plain(counted))
    if "--keep" in sys.argv[1:]:
        KEPT.write_text(json.dumps(counted, indent=1) + "\n")


if __name__ == "__main__":
    main()
