# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""One form for all errors: the argument, its shape, what is allowed, and the bad value."""

from __future__ import annotations

from torch import Tensor


def check(name: str, value: Tensor, ok: Tensor, allowed: str, *, event_dim: int = 0) -> None:
    """Raise ValueError for the first entry of an argument that is not allowed.

    :param str name: the argument.
    :param Tensor value: what was given.
    :param Tensor ok: whether each entry is allowed, of the shape of ``value`` without its last
        ``event_dim`` dimensions.
    :param str allowed: what the argument is expected to be.
    :param int event_dim: 1 if an entry is a vector.

    >>> import torch
    >>> from pyro_hypergeo.ops.errors import check
    >>> weights = torch.tensor([1.0, -2.0])
    >>> check("weights", weights, weights >= 0, "not negative")
    Traceback (most recent call last):
    ValueError: Expected `weights` of shape (2,) to be not negative, but found -2 at index (1,).
    """
    if ok.all():
        return
    first = first_of(~ok)
    # A condition on another argument may have a larger batch shape.
    found = value.expand(ok.shape + value.shape[value.dim() - event_dim :])[first]
    raise ValueError(
        f"Expected `{name}` of shape {tuple(value.shape)} to be {allowed}, "
        f"but found {shown(found)}{at_index(first)}."
    )


def first_of(mask: Tensor) -> tuple[int, ...]:
    """The index of the first true entry."""
    return tuple(mask.nonzero()[0].tolist())


def at_index(index: tuple[int, ...], kind: str = "index") -> str:
    """The place of a value, in words; empty for a scalar."""
    return f" at {kind} {index}" if index else ""


def shown(value: Tensor) -> object:
    """The value as a reader writes it: 3 and not 3.0."""
    plain = value.tolist()
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain
