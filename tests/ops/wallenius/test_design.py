# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The terms of a design under Wallenius' law against autograd, long arithmetic and references."""

import json
from collections.abc import Iterator
from pathlib import Path

import mpmath
import pytest
import torch
from torch import Tensor

from pyro_hypergeo.ops.law import DesignTerms, Law
from pyro_hypergeo.ops.wallenius import design as kernel
from pyro_hypergeo.ops.wallenius.clocks import GAUSS, TimeNodes
from pyro_hypergeo.ops.wallenius.law import WALLENIUS
from tests import wallenius_oracle

_REFERENCE = Path(__file__).parents[2] / "data" / "regression.json"
_CASES = [
    case for case in json.loads(_REFERENCE.read_text())["cases"] if case["law"] == "wallenius"
]


def strata(seed: int, largest: int = 3, scale: float = 1.0) -> tuple[Tensor, ...]:
    """Ragged strata; nothing is drawn from the first, everything from the second."""
    generator = torch.Generator().manual_seed(seed)
    urns, groups, covariates = (int(torch.randint(2, 9, (), generator=generator)) for _ in "Sgp")
    shape = (2 + urns, 3 * groups)
    sizes = torch.randint(0, largest + 1, shape, generator=generator).double()
    sizes[:, :2] = largest
    design = torch.randn(*shape, covariates, generator=generator).double()
    theta = scale * torch.randn(shape, generator=generator).double()
    share = torch.rand(shape[0], 1, generator=generator).double()
    counts = torch.binomial(sizes, share.expand(shape), generator=generator)
    counts[0], counts[1] = 0, sizes[1]
    return theta, sizes, counts, design


def assert_same(ours: DesignTerms, theirs: DesignTerms, rtol: float = 1e-11) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= rtol * b.abs().max().clamp(min=1)


@pytest.mark.parametrize("largest", [1, 3, 1000])
@pytest.mark.parametrize("seed", range(8))
def test_as_by_autograd(seed: int, largest: int) -> None:
    args = strata(seed, largest, scale=(0.5, 1.0, 3.0)[seed % 3])
    ours = WALLENIUS.design_terms(*args)
    assert_same(ours, Law.design_terms(WALLENIUS, *args))
    smallest, *_, most = torch.linalg.eigvalsh(ours.information)
    assert smallest > -1e-14 * most and most > 0
    for edge in (0, 1):
        assert ours.values[edge] == 0
        assert (ours.scores[edge] == 0).all()


def test_rows_that_do_not_exist_change_nothing() -> None:
    theta, sizes, counts, design = strata(3)
    empty = torch.zeros_like(sizes)
    never, heavy = torch.full_like(theta, -torch.inf), torch.full_like(theta, 1e3)
    wider = torch.cat([never, theta, heavy], -1)
    wide = [torch.cat([filler, t, empty], -1) for filler, t in ((sizes, sizes), (empty, counts))]
    covariates = torch.cat([1e3 + design, design, -1e3 * design], -2)
    ours = WALLENIUS.design_terms(wider, *wide, covariates)
    assert_same(ours, WALLENIUS.design_terms(theta, sizes, counts, design), 1e-13)


@pytest.mark.parametrize("gap", [-700.0, -12.0, 0.0, 1.0, 8.0, 12.0, 20.0, 30.0])
def test_one_drawn_is_a_softmax(gap: float) -> None:
    theta = torch.tensor([[gap, 0.0, -0.5, 0.3]]).double()
    sizes, x = torch.tensor([[1.0, 2.0, 1.0, 3.0]]).double(), torch.tensor([[1.0, 0, 0, 0]])
    design = torch.tensor([[[0.3], [-1.0], [2.0], [0.7]]]).double()
    terms = WALLENIUS.design_terms(theta, sizes, x, design)
    logs = torch.log_softmax(theta + sizes.log(), -1)
    share, z = logs.exp(), design[..., 0]
    away = z - (share * z).sum()
    torch.testing.assert_close(terms.values, logs[:, 0], rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(terms.scores[0], away[:, 0], rtol=1e-10, atol=1e-14)
    information = (share * away.square()).sum()
    torch.testing.assert_close(terms.information[0, 0], information, rtol=1e-7, atol=1e-14)


def test_only_edges_and_no_strata() -> None:
    sizes, design = torch.tensor([[2.0, 3.0], [1.0, 0.0]]), torch.ones(2, 2, 4)
    for some in (slice(0, 2), slice(0, 0)):
        for counts in (sizes, 0 * sizes):
            terms = WALLENIUS.design_terms(sizes[some], sizes[some], counts[some], design[some])
            assert terms.values.shape == (some.stop,)
            assert terms.scores.shape == (some.stop, 4)
            assert all((t == 0).all() and t.dtype == torch.float64 for t in terms)


def exact(theta: Tensor, sizes: Tensor, x: Tensor, design: Tensor) -> tuple[float, list[float]]:
    """Value; slope and minus the curvature along the first covariate, in long arithmetic."""
    with mpmath.workdps(75):
        step = mpmath.mpf(10) ** -18
        low, middle, high = (
            wallenius_oracle.log_prob(
                x.int().tolist(),
                [
                    mpmath.mpf(t) + sign * step * mpmath.mpf(z)
                    for t, z in zip(theta.tolist(), design[:, 0].tolist(), strict=True)
                ],
                sizes.int().tolist(),
                digits=50,
            )
            for sign in (-1, 0, 1)
        )
        slope, bend = (high - low) / (2 * step), (2 * middle - low - high) / step**2
        return float(middle), [float(slope), float(bend)]


@pytest.mark.parametrize(
    ("theta", "sizes", "counts"),
    [
        ([0.0, 9.0, 0.5], [4, 3, 3], [1, 3, 0]),
        ([900.0, 0.0, -700.0, 0.4], [2, 5, 3, 6], [2, 2, 0, 1]),
        ([0.0, 9.0, 0.5], [4, 100_000, 3], [1, 100_000, 0]),
        ([-20.0, 0.0, 3.0], [5, 7, 2], [3, 1, 0]),
        ([3.0, -890.0, 1.0], [6, 4, 1], [6, 1, 1]),
    ],
)
def test_long_arithmetic(theta: list[float], sizes: list[int], counts: list[int]) -> None:
    t, m, x = (torch.tensor([a]).double() for a in (theta, sizes, counts))
    design = torch.tensor([[0.7], [-1.3], [0.4], [2.0]][: len(theta)]).double()
    value, derivatives = exact(t[0], m[0], x[0], design)
    # The same urn beside one of another kind: not all strata have the same rule.
    other = torch.zeros_like(t), torch.ones_like(m), torch.zeros_like(x)
    other[2][0, :2] = 1
    pair = (torch.cat(both) for both in zip((t, m, x), other, strict=True))
    terms = WALLENIUS.design_terms(*pair, design.expand(2, *design.shape))
    alone = WALLENIUS.design_terms(t, m, x, design.unsqueeze(0))
    assert terms.values[0].item() == pytest.approx(value, rel=1e-11)
    assert alone.values[0].item() == pytest.approx(value, rel=1e-11)
    assert terms.scores[0].item() == pytest.approx(derivatives[0], rel=1e-11, abs=1e-11)
    # The rule cuts off the foot of a wall. The slope is in the hundreds there, and is squared here.
    assert alone.information.item() == pytest.approx(derivatives[1], rel=1e-11, abs=2e-11)


@pytest.mark.parametrize(
    ("most", "groups"),
    [(128, [[0, 1], [3], [2]]), (60, [[0], [1], [2, 3]]), (0, [[0, 1, 2, 3]])],
)
def test_each_stratum_has_the_rule_that_it_needs(
    most: int, groups: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bell; one that needs shorter steps; a steep wall; one that needs 122 steps."""
    x = torch.tensor([[1.0, 2.0, 1.0], [1.0, 1e3, 0.0], [1.0, 1e8, 0.0], [0.0, 100.0, 0.0]])
    sizes = torch.tensor([[4.0, 3.0, 3.0], [4.0, 1e3, 3.0], [4.0, 1e8, 3.0], [4.0, 100.0, 3.0]])
    theta = torch.tensor([[0.3, 0.0, 1.0], [0.0, 9.0, 0.5], [0.0, 9.0, 0.5], [0.0, 60.0, 0.5]])
    design = torch.linspace(-1, 1, 24).reshape(4, 3, 2).square()
    args = [t.double() for t in (theta, sizes, x, design)]
    alone = [WALLENIUS.design_terms(*(t[i : i + 1] for t in args)) for i in range(4)]
    counted: list[tuple[list[int], int]] = []
    rules = kernel._rules

    def seen(rows: kernel._Rows) -> Iterator[tuple[Tensor, TimeNodes, Tensor]]:
        for index, nodes, fall in rules(rows):
            counted.append((index.tolist(), nodes.offset.shape[-1]))
            yield index, nodes, fall

    monkeypatch.setattr(kernel, "_rules", seen)
    monkeypatch.setattr(kernel, "_MOST_STEPS", most)
    together = WALLENIUS.design_terms(*args)
    assert [index for index, _ in counted] == groups and counted[-1][1] == GAUSS
    assert all(nodes != GAUSS for _, nodes in counted[:-1])
    assert_same(
        together,
        DesignTerms(
            torch.cat([terms.values for terms in alone]),
            torch.cat([terms.scores for terms in alone]),
            torch.stack([terms.information for terms in alone]).sum(0),
        ),
        1e-12,
    )


@pytest.mark.parametrize("cells", [1, 50, 700])
def test_in_parts_as_in_one(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    args = strata(5, largest=4)
    whole = WALLENIUS.design_terms(*args)
    monkeypatch.setattr(kernel, "_CELLS", cells)
    assert_same(WALLENIUS.design_terms(*args), whole, 1e-13)


def test_tables_hold_drawn_rows_only_and_no_more_than_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = 4000
    theta = torch.randn(1, groups, generator=generator).double()
    counts = torch.zeros(1, groups).double()
    counts[:, 1000:1200] = 1
    sizes, design = torch.full_like(counts, 2), torch.ones(1, groups, 1).double()
    tables: list[int] = []
    change = kernel.rung_change

    def seen(log_y: Tensor, growth: Tensor) -> Tensor:
        table = change(log_y, growth)
        tables.append(table.numel())
        return table

    monkeypatch.setattr(kernel, "rung_change", seen)
    monkeypatch.setattr(kernel, "_CELLS", 1000)
    WALLENIUS.design_terms(theta, sizes, counts, design)
    assert max(tables) <= 1000
    assert 200 * 20 < sum(tables) < 200 * 60


@pytest.mark.parametrize("case", _CASES, ids=lambda case: str(case["name"]))
def test_reference(case: dict) -> None:
    labels = case["strata"]
    longest = max(labels.count(label) for label in labels)
    padded = []
    for label in sorted(set(labels)):
        rows = [i for i, own in enumerate(labels) if own == label]
        blank = [0.0] * (longest - len(rows))
        columns = [
            [case[name][i] for i in rows] + blank for name in ("offset", "group_sizes", "counts")
        ]
        design = [case["design"][i] for i in rows]
        design += [[0.0] * len(design[0])] * len(blank)
        padded.append((*columns, design))
    offset, sizes, counts, x = (
        torch.tensor(list(part), dtype=torch.float64) for part in zip(*padded, strict=True)
    )
    expected = case["expected"]
    beta = torch.tensor(expected["beta"], dtype=torch.float64)
    terms = WALLENIUS.design_terms(x @ beta + offset, sizes, counts, x)
    assert terms.scores.sum(0).abs().max() < 1e-9
    assert terms.values.sum().item() == pytest.approx(expected["log_likelihood"], rel=1e-12)
    errors = torch.linalg.inv(terms.information).diagonal().sqrt()
    assert errors.tolist() == pytest.approx(expected["standard_errors"], rel=1e-9)
    null = WALLENIUS.design_terms(offset, sizes, counts, x)
    score = null.scores.sum(0)
    assert (score @ torch.linalg.solve(null.information, score)).item() == pytest.approx(
        expected["score"], rel=1e-9
    )
