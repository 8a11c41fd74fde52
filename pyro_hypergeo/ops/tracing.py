# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def largest(counts: Tensor) -> int:
    """The largest entry as a Python number, for sizes of tables that must be static.

    It reads through the wrappers of ``torch.func``, and while ``torch.jit.trace`` runs the number
    becomes a constant of the trace, as sizes and totals of a model are.
    """
    if torch.compiler.is_compiling():
        return int(counts.max())
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(counts):
        counts = functorch.get_unwrapped(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(counts.max()) if counts.numel() else 0


def inside_transform() -> bool:
    """Whether loops that end on data are out of question: traced, compiled, or under torch.func."""
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )
