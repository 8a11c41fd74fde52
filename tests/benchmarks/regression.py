# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pyro_hypergeo import fit_regression, ops
from tests.benchmarks.tables import Row

# Strata of so many rows end Python's recursion in statsmodels. With fewer, it may take minutes.
_ROWS_OF_STATSMODELS, _WAYS_OF_STATSMODELS = 500, 3e4


def _table(lengths: list[int], totals: list[int], p: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one element: the design, who is drawn, and the strata."""
    strata = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    design, counts = torch.randn(len(strata), p), torch.zeros(len(strata))
    theta = design @ torch.linspace(0.5, -0.5, p)
    begin = np.cumsum([0, *lengths])
    for length in set(lengths):
        some = [s for s, own in enumerate(lengths) if own == length]
        rows = torch.stack([torch.arange(begin[s], begin[s + 1]) for s in some])
        drawn = torch.tensor([float(totals[s]) for s in some])
        counts[rows] = ops.sample(theta[rows], torch.ones(rows.shape), drawn)
    return design, counts, strata


def _seconds(call: Callable[[], Any], budget: float) -> float:
    """The least time of some calls, at least two unless one takes long."""
    times: list[float] = []
    end = time.perf_counter() + budget
    while not times or (time.perf_counter() + times[0] < end and len(times) < 20):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def _statsmodels(
    design: Tensor, counts: Tensor, strata: Tensor, lengths: list[int], totals: list[int]
) -> Callable[[], Any] | str:
    if importlib.util.find_spec("statsmodels") is None:
        return "not installed"
    if max(lengths) > _ROWS_OF_STATSMODELS:
        return "recursion limit"
    if max(n * k for n, k in zip(lengths, totals, strict=True)) > _WAYS_OF_STATSMODELS:
        return "minutes"
    from statsmodels.discrete.conditional_models import ConditionalLogit

    def call() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ConditionalLogit(counts.numpy(), design.numpy(), groups=strata.numpy())
            model.fit(disp=False)

    return call


def regression(seconds: float) -> list[Row]:
    """fit_regression, whole fits, in seconds, over statsmodels' ConditionalLogit."""
    generator = np.random.default_rng(0)
    ragged = generator.integers(2, 60, 2000).tolist()
    problems: list[tuple[str, list[int], list[int]]] = [
        ("50 of 200 rows", [200], [50]),
        ("1000 of 2000 rows", [2000], [1000]),
        ("20,000 pairs", [2] * 20_000, [1] * 20_000),
        ("1000 x (5 of 20)", [20] * 1000, [5] * 1000),
        ("2000 strata of 2 to 59", ragged, [int(generator.integers(1, n)) for n in ragged]),
    ]
    rows: list[Row] = []
    for name, lengths, totals in problems:
        table = _table(lengths, totals)
        design, counts, strata = table

        def fit(
            design: Tensor = design, counts: Tensor = counts, strata: Tensor = strata
        ) -> object:
            return fit_regression(design, counts, strata=strata)

        time_of_fit = _seconds(fit, seconds)
        peer = _statsmodels(*table, lengths, totals)
        theirs = peer if isinstance(peer, str) else _seconds(peer, seconds)
        ratio = "" if isinstance(theirs, str) else time_of_fit / theirs
        rows.append(_row(name, time_of_fit, theirs, ratio))
    for name, law, options in _large():
        spent = _seconds(lambda law=law, options=options: fit_regression(law=law, **options), 0.0)
        rows.append(_row(name, spent, "", ""))
    rows.append(
        _row("score tests of 5000 categories of 20,000 genes", _categories(seconds), "", "")
    )
    return rows


def _row(name: str, ours: float, theirs: float | str, ratio: float | str) -> Row:
    return {"problem": name, "seconds": ours, "statsmodels": theirs, "ratio": ratio}


def _large() -> list[tuple[str, str, dict[str, Any]]]:
    number = 10**6
    categories = torch.randint(0, 2, (number, 4)).double()
    drawn = ops.sample(categories @ torch.tensor([0.5, -0.3, 0.2, 0.1]), *_urn(1, 3e5, number))
    dyads = torch.randn(number, 3)
    theta = dyads @ torch.tensor([0.5, -0.3, 0.2])
    sparse_counts = ops.wallenius_sample(theta, *_urn(20, 1e4, number))
    tight = ops.wallenius_sample(theta, *_urn(3, 1.2e6, number))
    many = torch.full((number,), 20.0), torch.full((number,), 3.0)
    return [
        ("10^6 rows, 4 binary covariates", "fisher", {"design": categories, "counts": drawn}),
        *(
            (
                f"10^6 dyads, {kind}, {law}",
                law,
                {"design": dyads, "counts": counts, "group_sizes": sizes},
            )
            for kind, counts, sizes in (
                ("10,000 edges", sparse_counts, many[0]),
                ("40 % drawn", tight, many[1]),
            )
            for law in ("fisher", "wallenius")
        ),
    ]


def _urn(size: int, total: float, number: int) -> tuple[Tensor, Tensor]:
    return torch.full((number,), float(size)), torch.tensor(total)


def _categories(seconds: float) -> float:
    length = torch.randn(20_000, 3)
    counts = ops.sample(length @ torch.tensor([0.6, 0.2, 0.1]), *_urn(1, 2000.0, 20_000))
    fit = fit_regression(length, counts)
    rng = np.random.default_rng(0)
    places = rng.choice(20_000 * 5000, 500_000)
    member = sparse.csr_matrix((np.ones(500_000), np.divmod(places, 5000)), (20_000, 5000))
    return _seconds(lambda: fit.score_tests(member), seconds)
