# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The guide's table of BiasedUrn's functions: each of our calls gives the same value."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric, sizes_from_mean

ROOT = Path(__file__).parents[1]
STORED = json.loads((ROOT / "tests" / "data" / "biasedurn_reference.json").read_text())
LAWS = {"FN": FisherHypergeometric, "WN": WalleniusHypergeometric}
NAMES = {"FN": "fisher", "WN": "wallenius"}
# BiasedUrn approximates these. The truth is the value from which the mean was computed.
APPROXIMATE = {"odds", "num"}


def table() -> dict[str, str]:
    """Our call for each of BiasedUrn's functions, by its name in the guide."""
    page = ROOT / "tutorials" / "guide" / "biasedurn.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| BiasedUrn |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        theirs, ours = (cell.strip() for cell in line.strip("|").split("|"))
        call = re.findall(r"`([^`]+)`", ours)[0]
        for name in re.findall(r"`([^`]+)`", theirs):
            rows[name] = call
    return rows


TABLE = table()


def names_for(law: str, multivariate: bool) -> dict[str, str]:
    """From the key of a stored value to our call."""
    kinds = ["d", "mean", "var", "odds", "num"] + (["moments"] if multivariate else ["p", "q"])
    prefix = "M" if multivariate else ""
    names = {kind: f"{kind}{prefix}{law}CHypergeo" for kind in kinds}
    if not multivariate:
        names["mode"] = f"mode{law}CHypergeo"
    for kind in ("min", "max"):
        names[kind] = f"{kind}{prefix}Hypergeo"
    return {kind: TABLE[name] for kind, name in names.items()}


def run(call: str, urn: Any, **variables: Any) -> Any:
    known = {"urn": urn, "sizes_from_mean": sizes_from_mean, "torch": torch}
    return eval(call, known | variables)


def close(got: Any, wanted: Any) -> None:
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(torch.as_tensor(got).double(), wanted, rtol=1e-9, atol=1e-11)


def all_functions() -> set[str]:
    """As `ls("package:BiasedUrn")` lists them."""
    both = {f"{kind}{law}CHypergeo" for law in LAWS for kind in "dpqr"}
    both |= {f"{k}{law}CHypergeo" for law in LAWS for k in ("mean", "var", "mode", "odds", "num")}
    many = ("d", "r", "mean", "var", "moments", "odds", "num")
    both |= {f"{kind}M{law}CHypergeo" for law in LAWS for kind in many}
    return both | {"minHypergeo", "maxHypergeo", "minMHypergeo", "maxMHypergeo"}


def test_every_function_has_a_call() -> None:
    assert len(all_functions()) == 36
    assert set(TABLE) == all_functions()


@pytest.mark.parametrize("record", STORED["univariate"], ids=lambda r: f"{r['law']}{r['m1']}")
def test_univariate(record: dict[str, Any]) -> None:
    sizes, n, odds = [record["m1"], record["m2"]], int(record["n"]), record["odds"]
    urn = LAWS[record["law"]](n, sizes, [odds, 1.0])
    known = {
        "law": NAMES[record["law"]],
        "sizes": sizes,
        "weights": [odds, 1.0],
        "number": sum(sizes),
        "mean": urn.mean,
    }
    x, q = torch.tensor(record["x"]), torch.tensor(record["probability"])
    calls = names_for(record["law"], multivariate=False)
    close(run(calls.pop("d"), urn, x=x), record["d"])
    close(run(calls.pop("q"), urn, probability=q), record["q"])
    p = calls.pop("p")
    close(run(p, urn, x=x), record["p"])
    close(run(p.replace("cdf", "sf"), urn, x=x), record["p_upper"])
    weights = run(calls.pop("odds"), urn, **known)
    assert (weights[0] / weights[1]).item() == pytest.approx(odds, rel=1e-8)
    assert record["odds_of_mean"] == pytest.approx(odds, rel=0.25)  # theirs
    assert run(calls.pop("num"), urn, **known).tolist() == sizes
    assert record["num_of_mean"] == pytest.approx(sizes, rel=0.03)  # theirs
    assert set(calls) == {"mean", "var", "mode", "min", "max"}
    for kind, call in calls.items():
        close(run(call, urn)[0], record[kind])


@pytest.mark.parametrize("record", STORED["multivariate"], ids=lambda r: f"{r['law']}{len(r['m'])}")
def test_multivariate(record: dict[str, Any]) -> None:
    sizes, n, odds = record["m"], int(record["n"]), torch.tensor(record["odds"])
    urn = LAWS[record["law"]](n, sizes, odds)
    known = {
        "law": NAMES[record["law"]],
        "sizes": sizes,
        "weights": odds,
        "number": sum(sizes),
        "mean": urn.mean,
    }
    calls = names_for(record["law"], multivariate=True)
    close(run(calls.pop("d"), urn, x=torch.tensor(record["x"])), record["d"])
    moments = run(calls.pop("moments"), urn)
    close(moments[0], record["moments_mean"])
    close(moments[1], record["moments_var"])
    weights = run(calls.pop("odds"), urn, **known)
    close(weights / weights[0], odds / odds[0])
    theirs = torch.tensor(record["odds_of_mean"])
    assert ((theirs / theirs[0]) / (odds / odds[0]) - 1).abs().max() < 0.1  # theirs
    assert run(calls.pop("num"), urn, **known).tolist() == sizes
    assert record["num_of_mean"] == pytest.approx(sizes, rel=0.03)
    assert set(calls) == {"mean", "var", "min", "max"}
    for kind, call in calls.items():
        close(run(call, urn), record[kind])


@pytest.mark.parametrize("law", LAWS)
def test_random(law: str) -> None:
    torch.manual_seed(0)
    urn = LAWS[law](6, [5, 6], [2.0, 1.0])
    draws: Tensor = run(TABLE[f"r{law}CHypergeo"], urn, number=20_000)
    seen = torch.bincount(draws[:, 0].long(), minlength=6)
    assert chisquare(seen.numpy(), 20_000 * urn.marginal(0).probs.numpy()).pvalue > 1e-3
    assert run(TABLE[f"rM{law}CHypergeo"], urn, number=7).shape == (7, 2)
