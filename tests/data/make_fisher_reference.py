# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Writes fisher_reference.json again: `python -m tests.data.make_fisher_reference`, some minutes.

Records with weights, `w`, were computed by other methods. They are checked and kept. The others are
made here. Their weights are exp(log_w). The file has log_w as exact float64 numbers, and null for a
weight of zero. The floats are the rounded truth; `_str` has 25 digits of it.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np

from tests import oracle

PATH = Path(__file__).with_name("fisher_reference.json")
MAX_CONVOLUTION_SIZE = 10_000
MAX_COVARIANCE_GROUPS = 20


class Problem(NamedTuple):
    """An urn, and the names of the count vectors to evaluate."""

    name: str
    sizes: list[int]
    total: int
    log_weights: list[float]
    counts: Sequence[str] = ("near_mean", "likely_corner", "unlikely_corner")


def problems() -> Iterator[Problem]:
    rng = np.random.default_rng(20240229)
    ln_1e6, ln_1e12 = math.log(1e6), math.log(1e12)

    def log_weights(groups: int, ratio: float) -> list[float]:
        return np.round(rng.uniform(0, math.log(ratio), groups), 6).tolist()

    def sizes(groups: int, largest: int) -> list[int]:
        return rng.integers(1, largest, groups, endpoint=True).tolist()

    yield Problem("pair", [30, 45], 25, [0.0, 0.75])
    yield Problem("pair_central", [50, 30], 20, [0.0, 0.0])
    yield Problem("pair_ratio_1e3", [1000, 2000], 500, [0.0, math.log(1e3)])
    for total in (99, 100, 101):
        yield Problem("plateau_pair", [100, 100], total, [ln_1e12, 0.0])
    for total in (5, 9, 12, 14):
        yield Problem("plateau_triple", [7, 5, 9], total, [-ln_1e6, 0.0, ln_1e6])
    yield Problem("plateau_decades", [20] * 7, 70, [k * ln_1e12 / 6 for k in range(7)])
    for total in (0, 1, 14, 15):
        yield Problem("edge", [4, 6, 5], total, [0.0, -0.7, 1.3])
    for total in (0, 1):
        yield Problem("one_element", [0, 1, 0], total, [0.3, -2.0, 1.0])
    yield Problem("two_elements", [1, 1], 1, [0.0, 2.5])
    yield Problem("single_group", [17], 6, [1.7])
    yield Problem("empty_groups", [0, 6, 0, 9, 3], 7, [5.0, 0.4, -3.0, -0.9, 1.1])
    for total in (9, 13, 14):
        yield Problem("zero_weight", [6, 5, 8], total, [0.3, -math.inf, 1.1])
    yield Problem("huge_log_weights", [12, 7, 9], 10, [700.0, 701.0, 699.5])
    yield Problem("tiny_log_weights", [12, 7, 9], 10, [-900.0, -901.0, -899.5])
    yield Problem("subset_30", [1] * 30, 10, log_weights(30, 1e2))
    yield Problem("subset_200_ratio_1e12", [1] * 200, 60, log_weights(200, 1e12))
    yield Problem("groups_10", sizes(10, 100), 210, log_weights(10, 30))
    yield Problem("groups_20_ratio_1e4", sizes(20, 50), 120, log_weights(20, 1e4))
    yield Problem("groups_100_ratio_1e6", sizes(100, 20), 400, log_weights(100, 1e6))
    yield Problem("groups_5_rare", [3, 2000, 40, 500, 7], 60, [4.0, 0.0, 2.5, 0.7, 6.0])
    yield Problem("elements_1e4", [1000] * 10, 3500, log_weights(10, 50))
    yield Problem("elements_1e5", [50_000, 30_000, 20_000], 41_000, [0.0, 1.0, -2.0])
    yield Problem("elements_1e6_pair", [500_000, 500_000], 250_000, [0.0, 0.5])
    for total in (1, 1010, 999_999):
        yield Problem("elements_1e6_uneven", [10, 1000, 998_990], total, [2.0, 9.0, 0.0])
    groups, weights = [100_000] * 10, log_weights(10, 1e12)
    yield Problem("elements_1e6_ratio_1e12", groups, 300_000, weights)
    groups, weights = sizes(1000, 1999), log_weights(1000, 1e3)
    yield Problem("elements_1e6_groups_1000", groups, 400_000, weights, ["near_mean"])
    yield Problem("groups_1000", sizes(1000, 9), 1500, log_weights(1000, 1e12), ["unlikely_corner"])


def counts(problem: Problem, kind: str, mean: Sequence[float]) -> list[int]:
    """A count vector near the mean; or a corner, filled in the order of the weights."""
    open_sizes = [
        0 if theta == -math.inf else m
        for m, theta in zip(problem.sizes, problem.log_weights, strict=True)
    ]
    if kind == "near_mean":
        x = [min(math.floor(mu + 1e-9), m) for mu, m in zip(mean, open_sizes, strict=True)]
        order = np.argsort(np.array(x) - np.array(mean), kind="stable").tolist()
        step = 1
    else:
        x = [0] * len(open_sizes)
        order = np.argsort(problem.log_weights, kind="stable").tolist()
        order = order[::-1] if kind == "likely_corner" else order
        step = problem.total
    while missing := problem.total - sum(x):
        for i in order:
            taken = min(step, missing, open_sizes[i] - x[i])
            x[i] += taken
            missing -= taken
    return x


def truth(problem: Problem) -> dict[str, Any]:
    """The log-partition function and the moments; by two methods if the urn is small enough."""
    law = (problem.log_weights, problem.sizes, problem.total)
    log_p0, mean, variance = oracle.log_partition_contour(*law)
    if sum(problem.sizes) <= MAX_CONVOLUTION_SIZE:
        assert_close(log_p0, oracle.log_partition(*law))
        for a, b in zip(mean, oracle.mean(*law), strict=True):
            assert_close(a, b)
    result = {"log_p0": log_p0, "mean": mean, "var": variance}
    if len(problem.sizes) <= MAX_COVARIANCE_GROUPS:
        result["cov"] = covariance(problem, mean)
        for i, value in enumerate(variance):
            assert_close(value, result["cov"][i][i])
    return result


def covariance(problem: Problem, mean: Sequence[Any]) -> list[list[Any]]:
    """The same as oracle.covariance, also for larger urns."""
    rows = []
    for i, mu in enumerate(mean):
        rest = [m - (i == j) for j, m in enumerate(problem.sizes)]
        after = mean
        if mu > 1e-30:
            _, after, _ = oracle.log_partition_contour(problem.log_weights, rest, problem.total - 1)
        rows.append([mu * (b + (i == j) - mean[j]) for j, b in enumerate(after)])
    return rows


def assert_close(a: Any, b: Any) -> None:
    assert abs(a - b) < mpmath.mpf("1e-32") * max(1, abs(a)), (a, b)


def as_float(value: Any) -> float:
    """The nearest float64; zero if the value is only rounding error."""
    return float(value) if abs(value) > 1e-38 else 0.0


def made() -> Iterator[dict[str, Any]]:
    for problem in problems():
        known = truth(problem)
        taken: list[list[int]] = []
        for kind in problem.counts:
            x = counts(problem, kind, [float(mu) for mu in known["mean"]])
            if x in taken:
                continue
            taken.append(x)
            log_mass = oracle.log_unnormalised(x, problem.log_weights, problem.sizes)
            log_prob, log_p0 = log_mass - known["log_p0"], known["log_p0"]
            record = {
                "law": "fisher",
                "name": f"{problem.name}_n{problem.total}_{kind}",
                "m": problem.sizes,
                "n": problem.total,
                "log_w": [None if t == -math.inf else t for t in problem.log_weights],
                "x": x,
                "log_prob": as_float(log_prob),
                "log_prob_str": mpmath.nstr(log_prob if as_float(log_prob) else 0, 25),
                "log_P0": as_float(log_p0),
                "log_P0_str": mpmath.nstr(log_p0 if as_float(log_p0) else 0, 25),
                "mean": [as_float(mu) for mu in known["mean"]],
            }
            if "cov" in known:
                record["cov"] = [[as_float(value) for value in row] for row in known["cov"]]
            else:
                record["var"] = [as_float(value) for value in known["var"]]
            yield record


def kept() -> Iterator[dict[str, Any]]:
    for record in json.loads(PATH.read_text()):
        if "w" in record:
            law = (oracle.Weights(record["w"]), record["m"], record["n"])
            with mpmath.workdps(30):
                for value, key in (
                    (oracle.log_partition(*law), "log_P0_str"),
                    (oracle.log_prob(record["x"], *law), "log_prob_str"),
                ):
                    given = mpmath.mpf(record[key])
                    assert abs(value - given) < 1e-23 * max(1, abs(given)), record["name"]
            yield record


def main() -> None:
    with mpmath.workdps(50):
        lines = [json.dumps(record) for record in (*kept(), *made())]
    PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
