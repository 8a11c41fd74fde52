# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The windows of the estimator "gumbel", against the tables of all counts, with the same noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_hypergeo import ops
from pyro_hypergeo.ops.gradients import gumbel_tables, gumbel_windows
from pyro_hypergeo.ops.gradients.gumbel_tables import gumbel_movement
from pyro_hypergeo.ops.gradients.gumbel_windows import fisher_gumbel_movement

ONE = torch.tensor(1.0)


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is the same for all groups and counts of a draw, and for both ways."""

    def times(shape: tuple[int, ...], like: Tensor) -> Tensor:
        draws = torch.arange(1.0, 1 + torch.Size(shape[:-2]).numel(), dtype=torch.float64)
        scale = 0.7 if shape[-1] == 1 else 0.3
        return (
            (scale * (1 + torch.sin(draws) ** 2)).reshape(*shape[:-2], 1, 1).expand(shape).clone()
        )

    for module in (gumbel_tables, gumbel_windows):
        monkeypatch.setattr(module, "waiting_times", times)


def slopes(
    movement: Any, counts: Tensor, urn: tuple[Tensor, Tensor, Tensor], temperature: Tensor
) -> list[Tensor]:
    """First and second derivatives of a function of the movement."""
    theta, tau = urn[0].clone().requires_grad_(), temperature.clone().requires_grad_()
    state, bounds = ops.FISHER.solve(theta, *urn[1:]), ops.Bounds(*urn[1:])
    moved = movement(counts, ops.FISHER, state, bounds, tau)
    assert moved.shape == counts.shape
    weights = torch.linspace(-1.0, 2.0, moved.numel(), dtype=torch.float64).sin().view_as(moved)
    first = torch.autograd.grad((weights * moved).sum(), (theta, tau), create_graph=True)
    second = torch.autograd.grad((first[0] ** 2).sum() + first[1].sum(), (theta, tau))
    return [a.detach() for a in (*first, *second)]


def random_urns(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    groups, batch = 2 + seed % 7, 1 + seed % 3
    sizes = torch.randint(0, [2, 4, 15, 60, 150][seed % 5], (batch, groups)).double()
    total = (sizes.sum(-1) * torch.rand(batch)).round()
    theta = torch.randn(batch, groups) * [0.0, 0.5, 2.0, 5.0][seed % 4]
    if seed % 6 == 0:
        theta[:, 0] = -torch.inf
        total = torch.minimum(total, sizes[:, 1:].sum(-1))
    return theta, sizes, total


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize("seed", range(40))
def test_windows_give_the_movement_of_all_counts(seed: int) -> None:
    urn = random_urns(seed)
    counts = ops.sample(*urn, torch.Size([3] if seed % 2 else []))
    tau = [ONE, torch.tensor(0.3), torch.linspace(0.2, 1.0, len(urn[2]))][seed % 3]
    expected = slopes(gumbel_movement, counts, urn, tau)
    for found, truth in zip(
        slopes(fisher_gumbel_movement, counts, urn, tau), expected, strict=True
    ):
        scale = 1 + truth.abs().max()
        torch.testing.assert_close(found / scale, truth / scale, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("same_noise")
def test_many_groups_of_large_weights() -> None:
    theta, sizes = 20 * torch.randn(3, 80), torch.randint(0, 6, (3, 80)).double()
    urn = theta, sizes, torch.tensor([1.0, 50.0, 120.0])
    counts = ops.sample(*urn)
    for found, truth in zip(
        slopes(fisher_gumbel_movement, counts, urn, ONE),
        slopes(gumbel_movement, counts, urn, ONE),
        strict=True,
    ):
        # A sum that is certain has neighbours that are only rounding errors.
        torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("same_noise")
def test_high_temperatures_need_the_tails() -> None:
    urn = random_urns(13)
    counts = ops.sample(*urn)
    for tau in (torch.tensor(4.0), torch.linspace(0.5, 1.5, len(urn[2]))):
        expected = slopes(gumbel_movement, counts, urn, tau)
        for found, truth in zip(
            slopes(fisher_gumbel_movement, counts, urn, tau), expected, strict=True
        ):
            torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("same_noise")
def test_vmap_has_the_same_windows() -> None:
    theta, sizes = torch.randn(4, 3), torch.tensor([200.0, 150.0, 90.0])
    total = torch.tensor(170.0)
    counts = ops.sample(theta, sizes, total)

    def loss(theta: Tensor, counts: Tensor) -> Tensor:
        moved = ops.gumbel_gradient(counts, theta, sizes, total, ONE)
        return (moved * torch.tensor([1.0, -2.0, 0.5])).sum()

    mapped = torch.func.vmap(torch.func.grad(loss))(theta, counts)
    each = torch.stack([torch.func.grad(loss)(*pair) for pair in zip(theta, counts, strict=True)])
    torch.testing.assert_close(mapped, each, rtol=1e-9, atol=1e-10)
    # Here the widths come from the variances, not from the sizes.
    for row, x, wanted in zip(theta, counts, mapped, strict=True):
        leaf = row.clone().requires_grad_()
        (found,) = torch.autograd.grad(loss(leaf, x), leaf)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_of_a_low_temperature_is_nan_for_a_high_one() -> None:
    theta, sizes, total = torch.randn(3), torch.tensor([5.0, 3.0, 2.0]), torch.tensor(4.0)
    counts = torch.tensor([2.0, 1.0, 1.0])

    def draw(theta: Tensor, temperature: Tensor) -> Tensor:
        return ops.gumbel_gradient(counts, theta, sizes, total, temperature)

    traced = torch.jit.trace(draw, (theta.requires_grad_(), ONE), check_trace=False)
    assert torch.equal(traced(theta, torch.tensor(0.5)), counts)
    assert traced(theta, torch.tensor(1.5)).isnan().all()


def test_counts_without_probability_have_a_finite_gradient() -> None:
    theta = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    sizes, total = torch.tensor([5000.0, 7000.0, 1000.0]), torch.tensor(6000.0)
    for counts in ([5000.0, 0.0, 1000.0], [0.0, 6000.0, 0.0], [5000.0, 1000.0, 0.0]):
        for estimator in (
            ops.implicit_gradient,
            lambda *args: ops.gumbel_gradient(*args, ONE),
        ):
            moved = estimator(torch.tensor(counts), theta, sizes, total)
            (slope,) = torch.autograd.grad((moved * torch.tensor([1.0, -2.0, 3.0])).sum(), theta)
            assert slope.abs().max() < 6 * sizes.max()


class Work(TorchDispatchMode):
    """Counts the numbers that all operations write."""

    numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        self.numbers += out.numel() if isinstance(out, Tensor) else 0
        return out


@pytest.mark.parametrize("estimator", ["gumbel", "implicit"])
def test_work_grows_as_the_root_of_the_sizes(estimator: str) -> None:
    numbers = []
    for size in (1e3, 1e5):
        theta = torch.zeros(4, requires_grad=True)
        sizes, total = torch.full((4,), size), torch.tensor(2 * size)
        counts = torch.full((4,), size / 2)
        state, bounds = ops.FISHER.solve(theta, sizes, total), ops.Bounds(sizes, total)
        with Work() as work:
            moved = ops.estimators(ops.FISHER)[estimator](counts, ops.FISHER, state, bounds, ONE)
            moved.sum().backward()
        numbers.append(work.numbers)
    assert numbers[1] < 12 * numbers[0]
