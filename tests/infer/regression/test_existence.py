# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Whether a regression has a finite, unique maximum: verdicts, names and directions."""

import itertools
import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from pyro_hypergeo import NoFiniteEstimateError
from pyro_hypergeo.infer.regression.existence import check_existence
from pyro_hypergeo.infer.regression.separation import separating_direction
from pyro_hypergeo.infer.regression.within_strata import relations, within_strata

DATA = Path(__file__).parents[2] / "data"
REFERENCE = json.loads((DATA / "regression.json").read_text(encoding="utf-8"))["cases"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def check(design, counts, sizes=None, strata=None, names=LETTERS) -> NoFiniteEstimateError | None:  # type: ignore[no-untyped-def]
    """What is raised, or None."""
    design = torch.as_tensor(np.asarray(design, dtype=float))
    counts = torch.as_tensor(np.asarray(counts, dtype=float))
    sizes = torch.ones_like(counts) if sizes is None else torch.as_tensor(np.asarray(sizes))
    strata = np.zeros(len(counts)) if strata is None else strata
    labels = torch.as_tensor(np.asarray(strata, dtype=np.int64))
    try:
        check_existence(design, counts, sizes, labels, names[: design.shape[1]])
    except NoFiniteEstimateError as error:
        assert error.groups == []
        return error
    return None


def draw(strata: int, rows: int, drawn: int, beta: Tensor, design: Tensor) -> np.ndarray:
    """Counts: those of largest utility are drawn, in every stratum."""
    gumbel = -torch.empty(strata * rows).exponential_().log()
    order = (design @ beta + gumbel).reshape(strata, rows).argsort(-1, descending=True)
    counts = torch.zeros(strata, rows).scatter_(1, order[:, :drawn], 1.0)
    return counts.flatten().numpy()


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: case["name"])
def test_reference_problems(case: dict) -> None:
    error = check(case["design"], case["counts"], case["group_sizes"], case["strata"])
    expected = case["expected"]
    if expected.get("finite", True):
        assert error is None
        return
    assert error is not None
    if "not_identified" in expected:
        assert error.covariates == tuple(LETTERS[i] for i in expected["not_identified"])
        assert error.direction is None
        assert str(error) == (
            "The coefficients are not identified: the covariate `b` is constant within every "
            "stratum. Leave it out."
        )
    else:
        assert error.covariates == ("a",)
        assert error.direction == (1.0, 0.0)
        assert str(error).startswith("The likelihood grows without end as a grows")
        assert "ridge above 0, or leave it out" in str(error)


def exact_verdict(design, counts, sizes, strata) -> str:  # type: ignore[no-untyped-def]
    """The verdict from all differences of rows, in rational arithmetic, for up to 3 columns."""
    pairs = itertools.product(range(len(counts)), repeat=2)
    differences = {
        tuple(Fraction(int(a)) - int(b) for a, b in zip(design[i], design[j], strict=True))
        for i, j in pairs
        if strata[i] == strata[j] and counts[i] > 0 and counts[j] < sizes[j]
    }
    differences = {d for d in differences if any(d)}
    columns = len(design[0])
    if columns == 1:
        rays = [(Fraction(1),)] if differences else []
    elif columns == 2:
        rays = [(-b, a) for a, b in differences]
        # Rank 1: some row is orthogonal to all others' normal.
        if rays and all(x * rays[0][0] + y * rays[0][1] == 0 for x, y in differences):
            rays = []
    else:
        rays = [
            (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
            for a, b in itertools.combinations(differences, 2)
        ]
        rays = [ray for ray in rays if any(ray)]
        flat = [r for r in rays if all(sum(map(_times, r, d)) == 0 for d in differences)]
        if flat:
            rays = []
    if not rays:
        return "not identified"
    # A cone of full rank is spanned by its edges, and an edge is orthogonal to p - 1 differences.
    for ray in rays:
        for sign in (1, -1):
            if all(sign * sum(map(_times, ray, d)) >= 0 for d in differences):
                return "infinite"
    return "finite"


def _times(a: Fraction, b: Fraction) -> Fraction:
    return a * b


def verdict(error: NoFiniteEstimateError | None) -> str:
    if error is None:
        return "finite"
    return "not identified" if error.direction is None else "infinite"


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_verdicts_are_those_of_exact_arithmetic(columns: int) -> None:
    generator = np.random.default_rng(columns)
    seen = {"finite": 0, "infinite": 0, "not identified": 0}
    for _ in range(100):
        rows, spread = int(generator.integers(2, 14)), int(generator.integers(1, 5))
        design = generator.integers(-spread, spread + 1, (rows, columns))
        sizes = generator.integers(0, 3, rows)
        counts = generator.integers(0, sizes + 1)
        strata = generator.integers(0, int(generator.integers(1, 4)), rows)
        exact = exact_verdict(design.tolist(), counts, sizes, strata)
        seen[exact] += 1
        # Neither the units, nor a large constant, nor their mixture change the verdict.
        units = 10.0 ** generator.integers(-9, 10, columns)
        mixture = np.triu(np.ones((columns, columns)))
        for given in (design, design * units, design @ mixture, design + 1e8):
            error = check(given, counts, sizes, strata)
            assert verdict(error) == exact, (design, counts, sizes, strata)
            if exact == "infinite":
                assert error is not None
                _assert_separates(np.array(error.direction), given, counts, sizes, strata)
                assert max(map(abs, error.direction)) == 1
                involved = [LETTERS[i] for i in np.flatnonzero(error.direction)]
                assert error.covariates == tuple(involved)
    assert min(seen.values()) >= 5


def _assert_separates(direction, design, counts, sizes, strata) -> None:  # type: ignore[no-untyped-def]
    moves = False
    for stratum in np.unique(strata):
        rows = (strata == stratum) & (sizes > 0)
        value = (design[rows] - design[rows][:1]) @ direction if rows.any() else np.zeros(0)
        taken, left = counts[rows] > 0, counts[rows] < sizes[rows]
        if taken.any() and left.any():
            scale = np.abs((design[rows] - design[rows][:1]) * direction).max()
            assert value[taken].min() >= value[left].max() - 1e-12 * scale
            moves |= np.ptp(value) > 1e-9 * scale
    assert moves


def test_dependent_covariates_are_named() -> None:
    x = torch.randn(60, 4).numpy()
    strata, counts = np.repeat(np.arange(6), 10), np.tile([1.0, 0, 0, 1, 0, 1, 0, 0, 0, 1], 6)
    x[:, 3] = 2 * x[:, 2] - x[:, 0] + 7 * strata
    error = check(x, counts, None, strata)
    assert str(error) == (
        "The coefficients are not identified: the covariates `a`, `c`, `d` are linearly dependent "
        "within strata (1 a - 2 c + 1 d = 0 up to a constant of each stratum). "
        "Leave one of them out."
    )
    assert error is not None and error.covariates == ("a", "c", "d")
    assert error.direction is None
    # In other units the numbers are others, and the names are the same.
    error = check(x * [1, 1, 1e9, 1e-9], counts, None, strata)
    assert error is not None and error.covariates == ("a", "c", "d")
    # Two relations and a constant.
    extended = np.column_stack([x, strata, x[:, 1] + 1e8])
    error = check(extended, counts, None, strata)
    assert error is not None and error.covariates == ("a", "b", "c", "d", "e", "f")
    assert "covariate `e` is constant" in str(error)
    assert "`b`, `f` are linearly dependent within strata (1 b - 1 f = 0" in str(error)
    assert str(error).endswith("Leave one out of each dependence.")
    error = check(np.column_stack([strata, x[:, 0], strata]), counts, None, strata)
    assert "the covariates `a`, `c` are each constant within every stratum. Leave them" in str(
        error
    )


def test_all_dummies_of_a_factor_are_dependent() -> None:
    level = np.arange(40) % 4
    error = check(np.eye(4)[level], torch.randint(2, (40,)), None, np.arange(40) // 20)
    assert "(1 a + 1 b + 1 c + 1 d = 0 up to" in str(error)


def test_more_covariates_than_rows() -> None:
    error = check(torch.randn(5, 8), [1, 0, 1, 0, 0])
    assert verdict(error) == "not identified"


def test_nothing_to_learn_from() -> None:
    error = check([[1.0], [2.0]], [1, 1], [1, 1], [0, 0])
    assert "in every stratum nothing or everything was drawn" in str(error)
    assert error is not None and error.covariates == ("a",)
    assert check(np.zeros((0, 1)), [], [], []) is not None
    assert check(np.zeros((4, 0)), [1, 0, 1, 0]) is None


def test_powers_of_a_year_are_not_dependent() -> None:
    year = np.arange(1960.0, 2020)
    design = np.column_stack([year, year**2, year**3])
    assert check(design, (torch.arange(60) * 7 % 3 == 0).double()) is None


@pytest.mark.parametrize("shift", [0.0, 1e8])
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_combination_is_named_without_the_others(shift: float, unit: float) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(-8, 9, (300, 4)) / 8
    value = x[:, 1] - 0.5 * x[:, 3]
    counts = (value > 0).astype(float)
    scale = np.array([1.0, unit, 1.0, unit])
    error = check(x * scale + shift * scale, counts, names=["sex", "age", "height", "dose"])
    assert error is not None
    assert error.covariates == ("age", "dose")
    torch.testing.assert_close(error.direction, (0.0, 1.0, 0.0, -0.5), atol=0.15, rtol=0)
    assert "grows without end along 1 age - 0." in str(error)
    assert "dose (in these units)" in str(error)


def test_each_covariate_that_separates_alone_is_named() -> None:
    x = torch.randn(30, 2).numpy()
    drawn = x[:, 0] > 0
    x[:, 1] = np.where(drawn, -1e6, 1e6) * (1 + x[:, 1] ** 2)
    error = check(x, drawn, names=["age", "dose"])
    assert "as age grows and as dose falls" in str(error)
    assert error is not None and error.covariates == ("age", "dose")
    assert error.direction is not None and error.direction[0] == 1 and error.direction[1] < 0


def test_a_level_that_was_never_drawn() -> None:
    """Quasi-complete separation: what is not of this level overlaps."""
    x = np.column_stack([torch.randn(200).numpy(), np.arange(200) % 10 == 3])
    counts = (np.arange(200) % 3 == 0) & (x[:, 1] == 0)
    error = check(x, counts, None, np.arange(200) // 50)
    assert error is not None and error.covariates == ("b",)
    assert error.direction == (0.0, -1.0)
    # One drawn of two in one row of that level: finite.
    counts = counts.astype(float)
    counts[13], sizes = 1, np.full(200, 2.0)
    sizes[counts > 0] = 1
    sizes[13] = 2
    assert check(x, counts, sizes, np.arange(200) // 50) is None
    # The whole row drawn, and all else of that level left.
    sizes[13] = 1
    assert check(x, counts, sizes, np.arange(200) // 50) is None


def test_a_row_of_which_a_part_is_drawn_ties_the_stratum() -> None:
    design = [[0.0], [1.0], [2.0]]
    assert verdict(check(design, [0, 1, 2], [2, 2, 2])) == "infinite"
    assert verdict(check(design, [1, 1, 2], [2, 2, 2])) == "finite"
    assert verdict(check(design, [1, 0, 0], [2, 2, 2])) == "infinite"


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_nearly_separated(size: float) -> None:
    """Log-odds ratios of 30 for one unit: few pairs overlap, yet they do."""
    beta = torch.full((2,), size)
    design = torch.randn(1200, 2)
    counts = draw(400, 3, 1, beta, design)
    strata = np.repeat(np.arange(400), 3)
    shuffled = torch.randperm(1200).numpy()
    for order in (np.arange(1200), shuffled):
        assert check(design.numpy()[order], counts[order], None, strata[order]) is None
    # Without noise they do not.
    value = (design @ beta).reshape(400, 3)
    clean = (value == value.max(1, keepdim=True).values).double().flatten()
    error = check(design, clean, None, strata)
    assert verdict(error) == "infinite"


def test_one_pair_of_many_decides() -> None:
    """It overlaps by a millionth of the spread."""
    design = torch.randn(40_000, 2)
    design[0], design[1] = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0])
    value = (design @ torch.tensor([1.0, 2.0])).reshape(-1, 2)
    counts = torch.nn.functional.one_hot(value.argmax(-1), 2).flatten()
    strata = np.repeat(np.arange(20_000), 2)
    assert verdict(check(design, counts, None, strata)) == "infinite"
    design[0] -= 1e-6 * torch.tensor([1.0, 2.0])
    counts[0], counts[1] = 1, 0
    assert check(design, counts, None, strata) is None


def of_pairs(differences) -> NoFiniteEstimateError | None:  # type: ignore[no-untyped-def]
    """Each row is what was drawn of a pair, less what was left."""
    number = len(differences)
    design = np.stack([differences, np.zeros((number, 2))], axis=1).reshape(-1, 2)
    return check(design, np.tile([1.0, 0.0], number), None, np.repeat(np.arange(number), 2))


def test_pairs_that_overlap_by_a_small_angle() -> None:
    error = of_pairs([[1.0, 0.0], [-1.0, 1e-7], [0.0, 1.0]])
    assert error is not None and error.covariates == ("b",)
    assert of_pairs([[1.0, 0.0], [-1.0, 1e-7], [0.0, -1.0]]) is None
    # An angle below the tolerance is none.
    error = of_pairs([[1.0, 0.0], [-1e-13, 1.0], [0.0, -1.0], [0.0, 1.0], [1.0, 1.0]])
    assert error is not None and error.covariates == ("a",)


def test_a_constant_is_one_in_long_strata() -> None:
    """The mean of many equal numbers is not that number, but for rounding."""
    strata = np.arange(30_000) // 10_000
    design = np.column_stack([torch.randn(30_000).numpy(), strata + 0.1])
    error = check(design, np.arange(30_000) % 3 == 0, None, strata)
    assert verdict(error) == "not identified"
    assert error is not None and error.covariates == ("b",)


def test_strata_of_very_different_spread() -> None:
    """The narrow stratum contradicts the wide one."""
    wide, narrow = np.array([[3e6], [1e6], [2e6]]), np.array([[1e-6], [2e-6], [3e-6]])
    design, strata = np.concatenate([wide, narrow]), [0, 0, 0, 1, 1, 1]
    assert verdict(check(design, [1, 0, 0, 0, 0, 1], None, strata)) == "infinite"
    assert verdict(check(design, [1, 0, 0, 1, 0, 0], None, strata)) == "finite"


@pytest.mark.parametrize(
    ("strata", "rows", "drawn"), [(20_000, 2, 1), (1000, 100, 20), (1, 100_000, 30_000)]
)
def test_few_inequalities_decide_in_large_tables(
    strata: int, rows: int, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    programmes: list[tuple[int, ...]] = []
    solve = scipy.optimize.linprog

    def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
        programmes.append(kwargs["A_ub"].shape)
        return solve(*args, **kwargs)

    monkeypatch.setattr(scipy.optimize, "linprog", counted)
    design = torch.randn(strata * rows, 3)
    label = np.repeat(np.arange(strata), rows)
    beta = torch.tensor([1.0, 0.5, -1.0])
    assert check(design, draw(strata, rows, drawn, beta, design), None, label) is None
    assert len(programmes) <= 5
    assert max(number for number, _ in programmes) <= 500
    programmes.clear()
    value = (design @ beta).reshape(strata, rows)
    least = value.topk(drawn).values[:, -1:]
    separated = check(design, (value >= least).double().flatten(), None, label)
    assert verdict(separated) == "infinite"
    assert len(programmes) <= 150
    assert max(number for number, _ in programmes) <= 3000


def test_parts_and_the_whole_agree() -> None:
    """A large table that only its last stratum decides."""
    design = np.tile([[1.0, 0.0], [0.0, 0.0]], (20_000, 1))
    counts = np.tile([1.0, 0.0, 0.0, 1.0], 10_000)
    strata = np.repeat(np.arange(20_000), 2)
    assert verdict(check(design, counts, None, strata)) == "not identified"
    design[-1, 1] = 1.0
    error = check(design, counts, None, strata)
    assert error is not None and error.direction == (0.0, 1.0)
    design[-3, 1] = -1.0
    assert verdict(check(design, counts, None, strata)) == "infinite"
    counts[-4:] = [0, 1, 0, 1]
    assert verdict(check(design, counts, None, strata)) == "finite"


def test_the_class_serves_weights_and_coefficients() -> None:
    error = NoFiniteEstimateError("weights", [[0], [1, 2]])
    assert (error.groups, error.covariates, error.direction) == ([[0], [1, 2]], (), None)
    error = pickle.loads(pickle.dumps(check([[1.0], [2.0]], [0, 1])))
    assert (error.groups, error.covariates, error.direction) == ([], ("a",), (1.0,))


def test_rank_from_blocks_is_rank_from_the_cross_product() -> None:
    x = torch.randn(150_000, 3).numpy()
    x[:, 2] = x[:, 1] + 1e-6 * x[:, 2]
    strata = np.arange(150_000) // 3
    arguments = (np.tile([1.0, 0, 0], 50_000), np.ones(150_000), strata)
    data = within_strata(x, *arguments)
    assert not relations(data)
    product = data.triangle.T @ data.triangle
    np.testing.assert_allclose(product, data.centred.T @ data.centred / 150_000, atol=1e-13)
    assert separating_direction(data, range(3)) is None
    x[:, 2] = x[:, 1] + 1e-17 * x[:, 2]
    (relation,) = relations(within_strata(x, *arguments))
    np.testing.assert_array_equal(relation, [0, 1, -1])
