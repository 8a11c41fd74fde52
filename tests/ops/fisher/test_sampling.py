# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws under Fisher's law: each way of sampling follows the exact law."""

import math

import pytest
import torch
from scipy import stats

from pyro_hypergeo.ops import Bounds, mean, sample, variance
from pyro_hypergeo.ops.fisher import sampling_rejection
from pyro_hypergeo.ops.fisher.sampling import sample_given
from pyro_hypergeo.ops.fisher.sampling_rejection import sample_by_rejection
from pyro_hypergeo.ops.fisher.sampling_tree import (
    _build,
    _children,
    _conditional_cdf,
    _split,
    sample_by_tree,
)
from pyro_hypergeo.ops.fisher.state import solve_fisher
from tests import oracle
from tests.benchmarks.work import work
from tests.ops.fixture import PLAIN, WIDE, Urn

# While torch traces, sizes become constants of the trace, and it warns of this.
pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")

DRAWS = 20_000
URNS = {
    "plain": PLAIN,
    "wide": WIDE,
    "two": Urn([0.8, -0.3], [9, 14], 11),
    "five": Urn([1.0, -0.5, 0.0, 2.0, -1.2], [2, 3, 1, 2, 4], 5),
    "subsets": Urn([1.2, -0.5, 0.0, 0.7, -1.0, 0.3, 2.0], [1] * 7, 3),
    "zero_weight": Urn([0.5, -math.inf, 1.5], [6, 4, 5], 7),
    "one_missing": Urn([0.5, -1.0, 2.0], [4, 7, 5], 15),
}


def by_rejection(urn):
    return sample_by_rejection(solve_fisher(*urn.tensors), torch.Size([DRAWS]))


def by_table(urn):
    """Down the tree, with the cdf of every split tabulated."""
    return sample_by_tree(solve_fisher(*urn.tensors), torch.Size([DRAWS]), urn.bounds)


def by_row(urn):
    """Down the tree, with one cdf for each draw."""
    known = solve_fisher(*urn.tensors).expand(torch.Size([DRAWS]))
    return sample_by_tree(known, torch.Size(), urn.bounds)


def by_choice(urn):
    return sample(*urn.tensors, torch.Size([DRAWS]))


def by_vmap(urn):
    log_weights, sizes, total = urn.tensors
    many = log_weights.expand(DRAWS, -1)
    return torch.func.vmap(lambda t: sample(t, sizes, total), randomness="different")(many)


def by_trace(urn):
    log_weights, sizes, total = urn.tensors

    def draw(theta):
        return sample(theta, sizes, total, torch.Size([DRAWS]))

    return torch.jit.trace(draw, log_weights.flip(-1), check_trace=False)(log_weights)


WAYS = [by_rejection, by_table, by_row, by_choice, by_vmap, by_trace]


def assert_possible(counts, urn):
    _, sizes, total = urn.tensors
    assert (counts == counts.round()).all()
    assert ((counts >= 0) & (counts <= sizes)).all()
    assert (counts.sum(-1) == total).all()


def assert_fits(observed, expected):
    """Chi-square, with rare cells pooled until 5 are expected in each."""
    order = expected.argsort()
    cells, seen, due = [], 0.0, 0.0
    for count, probability in zip(observed[order].tolist(), expected[order].tolist(), strict=True):
        seen, due = seen + count, due + probability
        if due >= 5:
            cells.append((seen, due))
            seen = due = 0.0
    if due > 0:
        last_seen, last_due = cells.pop()
        cells.append((last_seen + seen, last_due + due))
    if len(cells) == 1:
        return
    seen, due = zip(*cells, strict=True)
    # The probabilities sum to 1 up to rounding.
    due = [value * sum(seen) / sum(due) for value in due]
    assert stats.chisquare(seen, due).pvalue > 1e-3


def histogram(draws, counts):
    """How often each of the count vectors was drawn."""
    radix = int(counts.max()) + 1
    powers = torch.tensor([float(radix) ** i for i in range(counts.shape[-1])])
    code, sorted_index = (counts @ powers).sort()
    place = torch.searchsorted(code, draws @ powers)
    assert (code[place] == draws @ powers).all()
    result = torch.empty(len(counts))
    result[sorted_index] = torch.bincount(place, minlength=len(counts)).double()
    return result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", URNS)
def test_probabilities(way, name):
    urn = URNS[name]
    draws = way(urn)
    assert draws.shape == (DRAWS, len(urn.sizes))
    assert_possible(draws, urn)
    counts, probs = urn.pmf()
    assert_fits(histogram(draws, counts), probs * DRAWS)


@pytest.mark.parametrize("way", [by_rejection, by_table, by_row])
def test_moments_of_more_groups(way):
    theta = [0.3 * i - 2 for i in range(17)]
    urn = Urn(theta, [(7 * i) % 13 for i in range(17)], 40)
    draws = way(urn)
    assert_possible(draws, urn)
    away = draws - mean(*urn.tensors)
    square = away.square()
    for values, expected in ((away, 0.0), (square, variance(*urn.tensors))):
        error = values.mean(0) - expected
        assert (error.abs() <= 4.5 * values.std(0) / math.sqrt(DRAWS)).all()


@pytest.mark.parametrize("way", ["rejection", "choice"])
def test_a_million_elements_a_group(way):
    urn = Urn([0.2, -1.5, 1.0, 0.0, 3.0], [10**6] * 5, 1_700_000)
    if way == "rejection":
        draws = sample_by_rejection(solve_fisher(*urn.tensors), torch.Size([500]))
    else:
        draws = sample(*urn.tensors, torch.Size([500]))
    assert_possible(draws, urn)
    z = (draws - mean(*urn.tensors)) / variance(*urn.tensors).sqrt()
    assert (z.mean(0) * math.sqrt(500)).abs().max() < 4.5
    assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in z.numpy().T)


def test_a_million_elements_a_group_down_the_tree():
    urn = Urn([0.2, -1.5, 1.0, 0.0, 3.0], [10**6] * 5, 1_700_000)
    draws = sample_by_tree(solve_fisher(*urn.tensors), torch.Size([4]), urn.bounds)
    assert_possible(draws, urn)
    assert ((draws - mean(*urn.tensors)) / variance(*urn.tensors).sqrt()).abs().max() < 5


def test_batches():
    log_weights, sizes, _ = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    totals = torch.tensor([0.0, 6.0, 16.0])
    draws = sample(many, sizes, totals, torch.Size([5000]))
    assert draws.shape == (5000, 2, 3, 4)
    assert (draws.sum(-1) == totals).all()
    assert (draws[:, :, 0] == 0).all()
    assert (draws[:, :, 2] == sizes).all()
    for i, theta in enumerate((log_weights, -log_weights)):
        urn = Urn(theta.tolist(), PLAIN.sizes, 6)
        counts, probs = urn.pmf()
        assert_fits(histogram(draws[:, i, 1], counts), probs * 5000)
    assert sample(many, sizes, totals, torch.Size([0])).shape == (0, 2, 3, 4)
    assert sample(many[:0], sizes, totals).shape == (0, 3, 4)


def test_a_batch_in_each_way_down_the_tree():
    thetas = torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.0], [-2.0, 1.0, 0.0, 0.5, 0.1]])
    sizes, total = torch.tensor([3.0, 2.0, 4.0, 3.0, 1.0]), torch.tensor(5.0)
    known = solve_fisher(thetas, sizes, total)
    bounds = Bounds(sizes, total)
    rows = sample_by_tree(known.expand(torch.Size([5000, 2])), torch.Size(), bounds)
    table = sample_by_tree(known, torch.Size([5000]), bounds)
    for draws in (rows, table):
        for i in range(2):
            counts, probs = Urn(thetas[i].tolist(), [3, 2, 4, 3, 1], 5).pmf()
            assert_fits(histogram(draws[:, i], counts), probs * 5000)


@pytest.mark.parametrize("tries", [1, 3])
def test_many_rounds_of_rejection(tries, monkeypatch):
    """Urns that finish in different rounds, each with some of its draws in each round."""
    thetas = torch.tensor([[0.5, -1.0, 2.0, 0.0, 1.0], [-2.0, 1.0, 0.0, 0.5, 0.1]])
    known = solve_fisher(thetas, torch.tensor([3.0, 2.0, 4.0, 3.0, 1.0]), torch.tensor(5.0))
    rounds = []
    whole = sampling_rejection._round
    monkeypatch.setattr(sampling_rejection, "_tries", lambda draws, *_: max(tries, draws // 3))
    monkeypatch.setattr(
        sampling_rejection, "_round", lambda *given: (rounds.append(1), whole(*given))[1]
    )
    draws = sample_by_rejection(known, torch.Size([50, 100]))
    assert draws.shape == (50, 100, 2, 5)
    assert len(rounds) > 5
    for i in range(2):
        counts, probs = Urn(thetas[i].tolist(), [3, 2, 4, 3, 1], 5).pmf()
        assert_fits(histogram(draws[:, :, i].flatten(0, 1), counts), probs * 5000)


def test_most_calls_need_one_round(monkeypatch):
    rounds = []
    whole = sampling_rejection._round
    monkeypatch.setattr(
        sampling_rejection, "_round", lambda *given: (rounds.append(1), whole(*given))[1]
    )
    for _ in range(100):
        known = solve_fisher(torch.randn(8, 6), torch.full((6,), 40.0), torch.tensor(90.0))
        sample_by_rejection(known, torch.Size([2]))
    assert len(rounds) < 140


@pytest.mark.parametrize(
    ("batch", "groups", "size", "total", "numbers"),
    [(2, 4, 500, 700, 300), (64, 10, 256, 256, 200)],
)
def test_one_draw_of_each_urn_needs_few_operations(batch, groups, size, total, numbers):
    torch.manual_seed(1)
    sizes, total = torch.full((groups,), float(size)), torch.tensor(float(total))
    known, bounds = solve_fisher(torch.randn(batch, groups), sizes, total), Bounds(sizes, total)
    costs = [work(lambda: sample_given(known, torch.Size(), bounds)) for _ in range(5)]
    least = min(costs)  # a call may need a second round
    assert least.operations <= 100
    assert least.numbers <= numbers * batch * groups


def test_edges():
    sizes = torch.tensor([2.0, 0.0, 4.0])
    theta = torch.tensor([0.3, 1.0, -math.inf])
    shape = torch.Size([3])
    assert (sample(theta, sizes, torch.tensor(0.0), shape) == 0).all()
    assert sample(theta, sizes, torch.tensor(2.0), shape).tolist() == [[2, 0, 0]] * 3
    assert sample(theta, sizes, torch.tensor(3.0), shape).isnan().all()
    assert sample(theta, sizes, torch.tensor(-1.0), shape).isnan().all()
    one = sample(torch.tensor([0.3]), torch.tensor([9.0]), torch.tensor(4.0), shape)
    assert one.tolist() == [[4], [4], [4]]


def test_plateaus():
    theta, sizes = torch.tensor([math.log(1e12), 0.0]), torch.tensor([100.0, 100.0])
    draws = sample(theta, sizes, torch.tensor(100.0), torch.Size([200]))
    assert (draws == torch.tensor([100.0, 0.0])).all()


def test_nan_log_weights_end_in_nan():
    theta = torch.tensor([0.3, math.nan])
    known = solve_fisher(theta, torch.tensor([4.0, 5.0]), torch.tensor(3.0))
    assert sample_by_rejection(known, torch.Size([2])).isnan().any()


def test_dtypes_flags_and_seeds():
    log_weights, sizes, total = PLAIN.tensors
    draws = sample(log_weights.float().requires_grad_(), sizes.long(), total.long())
    assert draws.dtype == torch.float32
    assert not draws.requires_grad
    for way in WAYS[:4]:
        torch.manual_seed(3)
        first = way(PLAIN)
        torch.manual_seed(3)
        assert torch.equal(first, way(PLAIN))
        assert not torch.equal(first, way(PLAIN))


def test_a_trace_serves_other_parameters():
    log_weights, sizes, total = PLAIN.tensors
    shape = torch.Size([DRAWS])
    example = log_weights.flip(-1), sizes, total
    traced = torch.jit.trace(lambda *urn: sample(*urn, shape), example, check_trace=False)
    counts, probs = PLAIN.pmf()
    assert_fits(histogram(traced(*PLAIN.tensors), counts), probs * DRAWS)


def test_vmap_over_totals():
    log_weights, sizes, _ = PLAIN.tensors
    totals = torch.arange(17.0)
    draw = torch.func.vmap(sample, (None, None, 0), randomness="different")
    assert (draw(log_weights, sizes, totals).sum(-1) == totals).all()


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize(
    "urn", [Urn([-450.0, 225.0, -160.0], [5] * 3, 10), Urn([405.0, 396.0, -359.0], [5, 50, 5], 58)]
)
def test_every_sum_of_a_parent_can_be_split(urn, repeats):
    """Also a sum whose probability, and that of each of its splits, is below the floats."""
    leaves, pairs = _build(solve_fisher(*urn.tensors), urn.bounds)
    sums = pairs.start[0] + torch.arange(pairs.probs.shape[-1])
    sums = sums[(pairs.probs[0] > 0) & (sums <= urn.total)]
    sums = sums.repeat(repeats)  # with more draws than sums, there is a table
    children = _split(leaves, pairs, torch.stack([sums, urn.total - sums]))[:2].mT
    assert ((children >= 0) & (children <= torch.tensor(urn.sizes[:2]))).all()
    assert (children.sum(-1) == sums).all()


def test_an_improbable_sum_is_split_by_the_exact_law():
    urn = Urn([-138.0, -138.5, 0.0], [2, 2, 5], 3)
    leaves, _ = _build(solve_fisher(*urn.tensors), urn.bounds)
    weights = [math.exp(0.5), 1.0]  # of the first two groups, up to a factor
    for total in (1, 2, 3):
        cdf = _conditional_cdf(*_children(leaves), torch.tensor([[float(total)]])).squeeze()
        exact = [0.0] * len(cdf)
        for x, probability in oracle.pmf(weights, [2, 2], total).items():
            exact[x[0]] = float(probability)
        expected = torch.tensor(exact).cumsum(0)
        torch.testing.assert_close(cdf / cdf[-1], expected, rtol=1e-12, atol=0)
