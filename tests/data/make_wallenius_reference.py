# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Writes wallenius_reference.json again: `python -m tests.data.make_wallenius_reference`, a minute.

Records with weights, `w`, were computed by other methods. They are checked and kept. The others are
made here. Their weights are exp(log_w). The file has log_w as exact float64 numbers. The floats are
the rounded truth; `_str` has 25 digits of it.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from tests import wallenius_oracle

PATH = Path(__file__).with_name("wallenius_reference.json")


def problems() -> Iterator[tuple[str, list[int], list[float], list[int]]]:
    """Names, sizes, log-weights and counts."""
    rng = np.random.default_rng(20240301)
    ln_10 = math.log(10)

    def log_weights(groups: int, ratio: float) -> list[float]:
        return np.round(rng.uniform(0, math.log(ratio), groups), 6).tolist()

    def typical(sizes: list[int], theta: list[float], share: float) -> list[int]:
        """Counts near the most probable ones, if this share of all elements is drawn."""
        m, w = np.array(sizes, dtype=float), np.exp(np.array(theta))
        times = np.exp(np.linspace(-40, 40, 200_001))
        rung = np.array([(m * -np.expm1(-w * u)).sum() for u in times])
        u = times[np.searchsorted(rung, share * m.sum())]
        return np.round(m * -np.expm1(-w * u)).astype(int).tolist()

    yield "one_of_two", [1, 1], [0.0, 2.5], [1, 0]
    yield "all_but_one", [30, 40], [0.0, 1.5], [29, 40]
    yield "all_but_one_heavy", [30, 40], [0.0, 1.5], [30, 39]
    yield "tail", [1000, 1000], [0.0, 3.0], [1000, 0]
    yield "tail", [1000, 1000], [0.0, 3.0], [800, 100]
    yield "tail", [200, 200, 200], [0.0, 1.6, 0.0], [180, 0, 0]
    # The integrand rises slowly for long, and then falls at once.
    yield "wall", [1000, 5], [6 * ln_10, 0.0], [1000, 1]
    yield "wall", [100_000, 5], [6 * ln_10, 0.0], [100_000, 1]
    yield "wall", [1000, 5], [6 * ln_10, 0.0], [999, 1]
    yield "wall", [7, 5, 9], [-6 * ln_10, 0.0, 6 * ln_10], [1, 5, 9]
    yield "wall", [7, 5, 9], [-6 * ln_10, 0.0, 6 * ln_10], [6, 3, 1]
    yield "huge_log_weights", [12, 7, 9], [700.0, 701.0, 699.5], [3, 4, 2]
    theta = log_weights(10, 1e12)
    sizes = [20] * 10
    yield "decades", sizes, theta, typical(sizes, theta, 0.5)
    yield "decades", sizes, theta, rng.integers(0, 20, 10, endpoint=True).tolist()
    theta, sizes = log_weights(50, 30), [100] * 50
    yield "groups_50", sizes, theta, typical(sizes, theta, 0.1)
    yield "groups_50", sizes, theta, rng.integers(0, 20, 50).tolist()
    theta, sizes = log_weights(200, 1e3), [1] * 200
    yield "subset_200", sizes, theta, [int(k) for k in rng.random(200) < 0.3]
    theta, sizes = log_weights(10, 50), [1000] * 10
    yield "elements_1e4", sizes, theta, typical(sizes, theta, 0.35)
    pair = [0.0, 0.5]
    yield "elements_1e6", [500_000, 500_000], pair, typical([500_000, 500_000], pair, 0.25)
    yield "elements_1e6", [500_000, 500_000], pair, [150_000, 100_000]
    yield "elements_1e6", [500_000, 500_000], pair, [499_999, 500_000]
    theta, sizes = log_weights(10, 1e12), [100_000] * 10
    yield "elements_1e6_ratio_1e12", sizes, theta, typical(sizes, theta, 0.3)
    theta, sizes = log_weights(50, 1e3), [20_000] * 50
    yield "elements_1e6_groups_50", sizes, theta, typical(sizes, theta, 0.4)


def record(name: str, sizes: list[int], theta: list[float], counts: list[int]) -> dict[str, Any]:
    value = wallenius_oracle.log_prob(counts, theta, sizes)
    urn = {"m": sizes, "n": sum(counts), "log_w": theta, "x": counts}
    truth = {"log_prob": float(value), "log_prob_str": mpmath.nstr(value, 25)}
    return {"law": "wallenius", "name": name, **urn, **truth}


def main() -> None:
    kept = [r for r in json.loads(PATH.read_text()) if "w" in r]
    for r in kept:
        with mpmath.workdps(40):
            theta = [mpmath.log(w) for w in r["w"]]
            value = wallenius_oracle.log_prob(r["x"], theta, r["m"])
            assert abs(value - mpmath.mpf(r["log_prob_str"])) < 1e-22 * max(1, abs(value)), r
    records = kept + [record(*problem) for problem in problems()]
    PATH.write_text("[\n" + ",\n".join(json.dumps(r) for r in records) + "\n]\n")


if __name__ == "__main__":
    main()
