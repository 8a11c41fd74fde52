# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tensors from what users have: numbers, lists, numpy arrays, DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Frame(Protocol):
    """A DataFrame or a Series of pandas, or of a library like it."""

    def to_numpy(self) -> Any:
        """The values as an array."""


Numbers: TypeAlias = "int | float | Sequence[Any] | npt.NDArray[Any] | Frame | Tensor"

# An error shows so many characters of a wrong value.
_SHOWN = 60


def as_tensor(value: Any, device: torch.device | None = None, name: str = "value") -> Tensor:
    """The value as a tensor; a tensor is returned as it is, an array is copied.

    :param str name: of the argument, for the message.
    :raises ValueError: if the value is not made of numbers, or has no shape.
    """
    # `torch.as_tensor` of a tensor changes nothing, but torch.jit.trace would warn of a constant.
    if torch.is_tensor(value):
        return value
    try:
        if _has_arrays(value):
            value = _array(value)
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        text = " ".join(repr(value).split())
        text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise ValueError(
            f"Expected `{name}` to be numbers, as a tensor, a list, an array or a DataFrame, "
            f"but got {text} ({error})."
        ) from None


def check_labels(**arguments: Any) -> None:
    """Check that DataFrames and Series name the same groups, and the same rows, in the same order.

    :raises ValueError: if two of the arguments do not.
    """
    for kind, labels_of in (("groups", _groups), ("rows", _rows)):
        found = [(name, labels_of(value)) for name, value in arguments.items()]
        labelled = [(name, labels) for name, labels in found if labels is not None]
        for name, labels in labelled[1:]:
            first, expected = labelled[0]
            if labels != expected:
                raise ValueError(
                    f"Expected `{first}` and `{name}` to have the same {kind} in the same order, "
                    f"but got {expected} and {labels}."
                )


def _has_arrays(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_arrays(entry) for entry in value if not isinstance(entry, (int, float)))
    return isinstance(value, np.ndarray) or hasattr(value, "to_numpy")


def _array(value: Any) -> npt.NDArray[Any]:
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    array = np.asarray(value)
    if array.dtype == object:
        array = np.array(array.tolist())
    if array.dtype.kind not in "biuf":
        raise TypeError(f"its entries are of type {array.dtype}")
    # `astype` copies. Torch cannot share an array that is read-only or of foreign byte order, and
    # the caller may change the array later. A DataFrame may store its columns one after the other;
    # in the order "C" the rounding errors of sums do not depend on that.
    if array.dtype.kind == "u":
        return array.astype(np.int64 if array.max(initial=0) < 2**63 else np.float64, order="C")
    if array.dtype.itemsize > 8:
        return array.astype(np.float64, order="C")
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _groups(value: Any) -> list[Any] | None:
    """The names of the groups: columns of a DataFrame, or the index of a Series."""
    if not hasattr(value, "to_numpy"):
        return None
    return _named(value.columns if hasattr(value, "columns") else getattr(value, "index", None))


def _rows(value: Any) -> list[Any] | None:
    """The names of the rows of a DataFrame."""
    if not hasattr(value, "to_numpy") or not hasattr(value, "columns"):
        return None
    return _named(getattr(value, "index", None))


def _named(labels: Any) -> list[Any] | None:
    if labels is None:
        return None
    names = list(labels)
    # Names that are only positions say nothing.
    return None if names == list(range(len(names))) else names
