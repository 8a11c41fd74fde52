# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Converts a user's arguments to tensors of one batch shape, and checks every value."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pyro.distributions.util import broadcast_shape
from torch import Tensor

from ..ops.errors import check, first_of, shown
from ..ops.tracing import may_branch
from .arrays import Numbers as Numbers
from .arrays import as_tensor, check_labels


class Parameters(NamedTuple):
    """The parameters of an urn as tensors that share a batch shape."""

    total_count: Tensor  # batch_shape
    group_sizes: Tensor  # batch_shape + (G,)
    weights: Tensor  # batch_shape + (G,); log-weights if those were given
    name: str  # "weights" or "log_weights"

    @property
    def batch_shape(self) -> torch.Size:
        """The common batch shape."""
        return self.total_count.shape


def urn_parameters(
    total_count: Numbers, group_sizes: Numbers, weights: Numbers | None, log_weights: Numbers | None
) -> Parameters:
    """Convert the arguments to tensors, and broadcast them.

    :raises ValueError: if shapes do not broadcast, if there is no group, if not exactly one of
        ``weights`` and ``log_weights`` is given, or if DataFrames name different groups.
    """
    if (weights is None) == (log_weights is None):
        given = "neither" if weights is None else "both"
        raise ValueError(f"Expected exactly one of `weights` and `log_weights`, but got {given}.")
    name = "weights" if log_weights is None else "log_weights"
    tensors = [x for x in (weights, log_weights, group_sizes, total_count) if torch.is_tensor(x)]
    device = tensors[0].device if tensors else None
    chosen = weights if log_weights is None else log_weights
    check_labels(**{"group_sizes": group_sizes, name: chosen})
    values = as_tensor(chosen, device, name)
    if not values.is_floating_point():
        values = values.to(torch.get_default_dtype())
    sizes = as_tensor(group_sizes, device, "group_sizes")
    total = as_tensor(total_count, device, "total_count")
    if need_float64(group_sizes, total_count):
        # Python numbers have no dtype. So nobody asked for one that does not hold them.
        values = _in_float64(chosen, values)
        sizes, total = _in_float64(group_sizes, sizes), _in_float64(total_count, total)
    for label, tensor in (("group_sizes", sizes), (name, values)):
        if tensor.dim() < 1:
            raise ValueError(
                f"Expected `{label}` to have one entry for each group in its last dimension, "
                f"but got a scalar: {tensor}."
            )
    try:
        shape = torch.Size(broadcast_shape(values.shape, sizes.shape, (*total.shape, 1)))
    except ValueError:
        needed = "`group_sizes` of shape (..., G) and `total_count` of shape (...)"
        got = f"{tuple(sizes.shape)} and {tuple(total.shape)}"
        # If their shape is that of the sizes, they are not the cause. The caller may not even have
        # passed them: MultivariateHypergeometric makes them.
        if values.shape != sizes.shape:
            needed = f"`{name}` of shape (..., G), {needed}"
            got = f"{tuple(values.shape)}, {got}"
        raise ValueError(f"Expected {needed} that broadcast, but got shapes {got}.") from None
    if shape[-1] == 0:
        raise ValueError(f"Expected `group_sizes` of at least one group, but got {sizes.tolist()}.")
    return Parameters(
        _expand(total, shape[:-1]), _expand(sizes, shape), _expand(values, shape), name
    )


def need_float64(*counts: Any) -> bool:
    """Whether counts that are Python numbers, or lists of these, are too large for the default."""
    narrow = torch.get_default_dtype() != torch.float64
    return narrow and any(_is_python(x) and _largest(x) >= largest_exact() for x in counts)


def _in_float64(value: Any, tensor: Tensor) -> Tensor:
    # The list again, not its tensor: that is rounded already. Integers need no other dtype.
    if not (_is_python(value) and tensor.is_floating_point()):
        return tensor
    return torch.as_tensor(value, dtype=torch.float64, device=tensor.device)


def largest_exact(dtype: torch.dtype | None = None) -> int:
    """The number up to which a dtype holds all integers; the default dtype if not given."""
    # An int: torch would round integers to the default dtype before it compares them with a float.
    return int(2 / torch.finfo(dtype or torch.get_default_dtype()).eps)


def _is_python(value: Any) -> bool:
    return isinstance(value, (int, float, list, tuple))


def _largest(value: Any) -> float:
    if isinstance(value, (list, tuple)):
        return max(map(_largest, value), default=0)
    return value if isinstance(value, (int, float)) else 0


def positive_temperature(
    temperature: float | Tensor, like: Tensor, batch_shape: torch.Size, validate: bool
) -> Tensor:
    """The temperature as a tensor.

    :raises ValueError: if it does not broadcast with the batch shape or, with validation, is not
        finite and above 0.
    """
    tensor = torch.as_tensor(temperature, dtype=like.dtype, device=like.device)
    try:
        if tensor.dim():
            torch.broadcast_shapes(tensor.shape, batch_shape)
    except RuntimeError:
        raise ValueError(
            f"Expected `temperature` of a shape that broadcasts with the batch shape "
            f"{tuple(batch_shape)}, but got shape {tuple(tensor.shape)}."
        ) from None
    if validate:
        check("temperature", tensor, (tensor > 0) & (tensor < torch.inf), "finite and above 0")
    return tensor


def static_sizes(group_sizes: Numbers, total_count: Numbers) -> tuple[int, int] | None:
    """Largest size and total, if they are Python numbers; then no device has to be asked."""
    if isinstance(total_count, int) and isinstance(group_sizes, (list, tuple)):
        if group_sizes and all(isinstance(size, int) for size in group_sizes):
            return max(group_sizes), total_count
    return None


def _expand(value: Tensor, shape: torch.Size) -> Tensor:
    # An expanded tensor is not a leaf of the autograd graph. Only leaves can be copied by
    # `copy.deepcopy` of the distribution, so we expand only if the shape changes.
    return value if value.shape == shape else value.expand(shape)


def check_urn(parameters: Parameters) -> None:
    """Check the values.

    :raises ValueError: if no urn has these values; it names the argument and shows the value.
    """
    if may_branch(parameters.weights) and _is_plain(parameters):
        return
    total, sizes, weights, name = parameters
    check_count_values("group_sizes", sizes, weights.dtype)
    check_count_values("total_count", total, weights.dtype)
    if name == "weights":
        check(name, weights, (weights >= 0) & (weights < torch.inf), "finite and not negative")
        present = weights > 0
    else:
        check(name, weights, weights < torch.inf, "real or -inf, the logarithm of a zero weight")
        present = weights != -torch.inf
    zero = "0" if name == "weights" else "-inf"
    check(name, weights, present.any(-1), f"not all {zero}", event_dim=1)
    available = torch.where(present, sizes, torch.zeros_like(sizes)).sum(-1)
    fits = total <= available
    if not fits.all():
        first = first_of(~fits)
        among = "" if present.all() else " whose weight is not 0"
        raise ValueError(
            f"Expected `total_count` of shape {tuple(total.shape)} to be at most the sum of the "
            f"`group_sizes`{among}, but found a total of {shown(total[first])} from "
            f"{shown(available[first])} elements in groups of sizes {sizes[first].tolist()}."
        )


def _is_plain(parameters: Parameters) -> bool:
    """Whether all values are allowed and no weight is 0: most urns need no other question."""
    total, sizes, weights, name = parameters
    for counts in (sizes, total):
        low, high = (end.item() for end in counts.detach().aminmax())
        if not (0 <= low and high <= largest_exact(weights.dtype)):
            return False
        if counts.is_floating_point() and not (counts % 1 == 0).all():
            return False
    low, high = (end.item() for end in weights.detach().aminmax())
    above = 0 if name == "weights" else -torch.inf
    return above < low and high < torch.inf and bool((total <= sizes.sum(-1)).all())


def mean_parameters(
    mean: Numbers, group_sizes: Numbers, total_count: Numbers | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean counts, sizes and totals as tensors.

    :raises ValueError: if no weights have these means.
    """
    given = 0 if total_count is None else total_count
    total, sizes, means, _ = urn_parameters(given, group_sizes, mean, None)
    summed = means.detach().double().sum(-1)
    if total_count is None:
        total = summed.round()
    slack = 8 * torch.finfo(means.dtype).eps * summed.clamp(min=1)
    check("mean", means, (summed - total).abs() <= slack, f"of sum {shown(total)}", event_dim=1)
    # If all elements that can be drawn are drawn, then all weights have these means.
    certain = torch.where(means > 0, sizes, torch.zeros_like(sizes)).sum(-1) <= total
    inside = (means >= 0) & ((means < sizes) | (certain.unsqueeze(-1) & (means <= sizes)))
    check("mean", means, inside, f"0, or between 0 and the `group_sizes` {shown(sizes)}")
    return means, sizes, total.to(sizes.dtype)


def check_count_values(name: str, value: Tensor, dtype: torch.dtype) -> None:
    """Check that an argument holds counts, and that a dtype holds them.

    :raises ValueError: if it does not; it names the argument and shows the value.
    """
    check(name, value, (value >= 0) & (value % 1 == 0), "integers that are not negative")
    exact = largest_exact(dtype)
    remedy = "" if dtype == torch.float64 else ", torch.float64 does"
    # A narrow integer would wrap the bound around.
    wide = value if value.is_floating_point() else value.long()
    check(
        name,
        value,
        wide <= exact,
        f"at most {exact}: {dtype} does not hold all larger integers{remedy}",
    )


def checked_estimator(estimator: str, available: tuple[str, ...]) -> str:
    """The name of the estimator.

    :raises ValueError: if it is not one of those that are available.
    """
    if estimator not in available:
        names = ", ".join(map(repr, available))
        raise ValueError(f"Expected `estimator` to be one of {names}, but got {estimator!r}.")
    return estimator
