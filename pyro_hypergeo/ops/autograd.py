# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How the autograd functions of this package are applied."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.overrides import handle_torch_function, has_torch_function


def apply(function: Any, *args: Any, forward_mode: Any = None) -> Any:
    """Apply an autograd function to ordinary tensors, or to those of a subclass.

    ``Function.apply`` does not ask a subclass what to do. So it would lose what Pyro's
    provenance tensors carry, and with that the gradients of ``TraceGraph_ELBO``.

    :param function: a subclass of ``torch.autograd.Function``.
    :param args: its arguments.
    :param forward_mode: the same function with a ``jvp``, which ``torch.compile`` does not take.
    :return: its results.
    """
    if torch.compiler.is_compiling():
        return function.apply(*args)
    if has_torch_function(args):
        return handle_torch_function(apply, args, function, *args, forward_mode=forward_mode)
    # `Function.apply` would inspect this signature each time: as long as ten operations take.
    if "__signature__" not in vars(function.forward):
        function.forward.__signature__ = inspect.signature(function.forward)
    return (forward_mode or function).apply(*args)
