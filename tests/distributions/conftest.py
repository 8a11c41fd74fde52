# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fixtures that compile without a C++ compiler."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd


def real_graph(graph: Any, _: Any) -> Any:
    """Run the graph as it is. First check that PyTorch's code generator could compile it."""
    values = [node.meta.get("val") for node in graph.graph.nodes]
    assert values
    assert not any(torch.is_tensor(value) and value.is_complex() for value in values)
    return make_boxed_func(graph)


@pytest.fixture
def compiled() -> Iterator[Any]:
    """torch.compile without the C++ compiler, which takes a minute."""
    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=real_graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own warnings
        yield lambda f: torch.compile(f, fullgraph=True, backend=backend)
    torch._dynamo.reset()
