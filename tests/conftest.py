# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Settings of all tests: seeds, float64, validation; and hypothesis seeds torch too."""

import os
from collections.abc import Iterator

import hypothesis
import pyro
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")  # plots open no window


class _TorchRandom:
    """Torch's generator in the shape that hypothesis seeds for each example and replays."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


_TORCH_RANDOM = _TorchRandom()  # hypothesis keeps only a weak reference
hypothesis.register_random(_TORCH_RANDOM)
hypothesis.settings.register_profile("suite", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _clean_slate() -> Iterator[None]:
    """Start every test from the same seed, no parameters, float64 and validation on."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    with pyro.validation_enabled():
        yield
    pyro.clear_param_store()
    torch.set_default_dtype(dtype)


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as quick the first case of every test function that is not marked as slow."""
    seen = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if function not in seen and item.get_closest_marker("slow") is None:
            item.add_marker("quick")
        seen.add(function)
