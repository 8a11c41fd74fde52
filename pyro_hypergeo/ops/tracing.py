# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sizes of tables as Python numbers, also where PyTorch traces, compiles or vmaps a function."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def largest(counts: Tensor) -> int:
    """The largest entry as a Python number: a table needs it, since its size must be static.

    The function sees through the wrappers of ``torch.func``. While ``torch.jit.trace`` runs, the
    number becomes a constant of the trace. Sizes and totals of a model are such constants too.
    """
    if torch.compiler.is_compiling():
        return int(counts.max())
    counts = unwrapped(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(counts.max()) if counts.numel() else 0


def unwrapped(tensor: Tensor) -> Tensor:
    """The whole tensor behind the wrappers of ``torch.func``, with all dimensions of ``vmap``."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def inside_transform() -> bool:
    """Whether a loop must not depend on data: in a trace, in compiled code, in ``torch.func``."""
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )
