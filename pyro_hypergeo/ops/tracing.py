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
    number becomes a constant of the trace. So what follows from it needs :func:`nan_unless`;
    :class:`~pyro_hypergeo.ops.Bounds` has a method for this.
    """
    if torch.compiler.is_compiling():
        return int(counts.max())
    counts = unwrapped(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(counts.max()) if counts.numel() else 0


def static_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape as Python numbers, also in a trace: it holds for this shape only."""
    if not torch.jit.is_tracing():
        return tuple(tensor.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(int(length) for length in tensor.shape)


def unwrapped(tensor: Tensor) -> Tensor:
    """The whole tensor behind the wrappers of ``torch.func``, with all dimensions of ``vmap``."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def nan_unless(holds: Tensor, result: Tensor) -> Tensor:
    """The result, and NaN where a trace does not hold for its arguments; the gradient is NaN too.

    Call it only while ``torch.jit.trace`` runs. A choice by ``torch.where`` would not do: it would
    give the gradient 0.
    """
    return result * torch.where(holds, 1.0, torch.nan)


def nan_if_table_is(table: Tensor, result: Tensor) -> Tensor:
    """In a trace, NaN if a table has a NaN: a search in it would find a number."""
    if not torch.jit.is_tracing():
        return result
    return nan_unless(~table.isnan().any(), result)


def in_table(index: Tensor, last: int) -> Tensor:
    """In a trace, indices that stay in a table 0, ..., last; what they find is then replaced."""
    return index.clamp(0, last) if torch.jit.is_tracing() else index


def inside_transform() -> bool:
    """Whether a loop must not depend on data: in a trace, in compiled code, in ``torch.func``."""
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def may_branch(tensor: Tensor) -> bool:
    """Whether Python may look at values to save work: there are some, and no device is waited for.

    Nothing is traced, compiled or mapped then.
    """
    return tensor.device.type == "cpu" and not inside_transform() and tensor.numel() > 0
