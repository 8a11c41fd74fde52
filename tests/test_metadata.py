# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What is said about the package outside of it agrees with the package."""

import re
from pathlib import Path

import pyro_hypergeo
from tests.lower_bounds import PYPROJECT, lower_bounds

ROOT = Path(__file__).parents[1]


def test_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {pyro_hypergeo.__version__}\n" in citation


def test_every_dependency_has_a_lower_bound() -> None:
    # From the file: the metadata of an editable install may be older.
    text = PYPROJECT.read_text(encoding="utf-8")
    bounds = {line.partition("==")[0] for line in lower_bounds(text)}
    (listed,) = re.findall(r"^dependencies = \[(.*)\]$", text, flags=re.MULTILINE)
    needed = {re.split(r"[^\w.-]", name)[0] for name in re.findall(r'"([^"]+)"', listed)}
    assert needed == {"numpy", "pyro-ppl", "scipy", "torch", "tqdm"}
    assert needed <= bounds
