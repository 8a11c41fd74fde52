# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood weights from counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..distributions.laws import law_of
from ..ops.errors import check
from ..ops.law import Law, LogLikelihood

_MAX_STEPS, _LONGEST = 100, 5.0
# Newton's decrement g H^-1 g is twice the log-likelihood still to gain.
_CONVERGED = 1e-24


class WeightsFit(NamedTuple):
    """Maximum-likelihood log-weights and how well the data determine them, in float64."""

    log_weights: Tensor  # (G,)
    covariance: Tensor  # (G, G), inverse information in the same gauge
    standard_errors: Tensor  # (G,)
    log_likelihood: Tensor  # scalar, at the fit
    log_likelihood_equal: Tensor  # scalar, at equal weights
    iterations: int
    law: str = "fisher"


class NoFiniteEstimateError(ValueError):
    """The likelihood has no maximum at finite weights, or not a single one.

    :ivar groups: lists of indices of groups; the estimates of each list relative to the others
        are not finite or not determined.
    """

    def __init__(self, message: str, groups: list[list[int]]) -> None:
        super().__init__(message)
        self.groups = groups


def fit_weights(
    group_sizes: Tensor | Sequence[Any],
    counts: Tensor | Sequence[Any],
    *,
    reference: int | None = None,
    law: str | Law = "fisher",
) -> WeightsFit:
    r"""
    Maximum-likelihood weights of groups from how many of each were drawn.

    Each row (stratum) is an urn of its own with the same weights; totals are taken as given, so
    this is conditional maximum likelihood under

    .. math::

        p(x) \propto \prod_i \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad \sum_i x_i = n ,

    or under another law. Under Fisher's and Wallenius' law the log-likelihood is concave. Newton's
    method with its exact second derivative takes a handful of steps of cost O(strata G^2 + G^3).

    Example::

        >>> from pyro_hypergeo import fit_weights
        >>> fit = fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]], reference=0)
        >>> fit.log_weights
        tensor([ 0.0000, -1.3654], dtype=torch.float64)

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``; 0 where a stratum lacks a
        group.
    :param counts: drawn counts, of the same shape.
    :param int reference: index of the group whose log-weight is 0; if not given, the log-weights
        have mean 0.
    :param law: ``"fisher"`` (each element is taken or left), ``"wallenius"`` (one is taken after
        the other), or a :class:`~pyro_hypergeo.ops.Law`.
    :type law: str or Law
    :return: a :class:`WeightsFit`.
    :raises ValueError: if ``law`` is another, or a count is negative, not an integer, or larger
        than its group.
    :raises NoFiniteEstimateError: if weights can grow without end; it says which groups'.
    """
    law = law_of(law)
    sizes, drawn = _as_strata("group_sizes", group_sizes), _as_strata("counts", counts)
    if sizes.shape != drawn.shape:
        raise ValueError(
            "Expected `group_sizes` and `counts` of the same shape, but got "
            f"{tuple(sizes.shape)} and {tuple(drawn.shape)}."
        )
    if not (drawn <= sizes).all():
        stratum, group = (drawn > sizes).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `counts` of shape {tuple(drawn.shape)} to be at most the `group_sizes`, but "
            f"found {drawn[stratum, group]:g} of {sizes[stratum, group]:g} at index "
            f"({stratum}, {group})."
        )
    groups = sizes.shape[-1]
    if reference is not None and not -groups <= reference < groups:
        raise ValueError(
            f"Expected `reference` between {-groups} and {groups - 1}, but got {reference}."
        )
    _check_finite(sizes, drawn)
    theta, known, iterations = _newton(law, sizes, drawn)
    equal = law.log_prob(law.solve(torch.zeros_like(sizes), sizes, drawn.sum(-1)), drawn).sum()
    contrast, covariance, errors = _relative(theta, known.information, reference)
    return WeightsFit(contrast, covariance, errors, known.value, equal, iterations, law.name)


def _as_strata(name: str, values: Tensor | Sequence[Any]) -> Tensor:
    table = torch.as_tensor(values).detach().double()
    if table.dim() == 1:
        table = table.unsqueeze(0)
    if table.dim() != 2 or table.numel() == 0:
        raise ValueError(
            f"Expected `{name}` of shape (G,) or (strata, G), not empty, "
            f"but got {tuple(table.shape)}."
        )
    check(name, table, (table >= 0) & (table % 1 == 0), "integers that are not negative")
    return table


def _newton(law: Law, sizes: Tensor, drawn: Tensor) -> tuple[Tensor, LogLikelihood, int]:
    # Pooled log-odds are the answer if the strata are alike and large, and never far.
    left = (sizes - drawn).sum(0)
    theta = torch.log((drawn.sum(0) + 0.5) / (left + 0.5))
    for iteration in range(1, _MAX_STEPS + 1):
        _, gradient, information = law.log_likelihood(theta, sizes, drawn)
        step = _solve(information, gradient)
        decrement = gradient @ step
        theta = theta + step * (_LONGEST / step.abs().max()).clamp(max=1)
        if decrement <= _CONVERGED * information.diagonal().sum().clamp(min=1):
            return theta, law.log_likelihood(theta, sizes, drawn), iteration
    raise RuntimeError(f"Newton's method has not converged in {_MAX_STEPS} steps.")


def _solve(information: Tensor, gradient: Tensor) -> Tensor:
    # Adding a constant to all log-weights changes nothing: that direction is given curvature.
    gauge = torch.ones_like(information) * information.diagonal().mean() / len(gradient)
    return torch.linalg.solve(information + gauge, gradient)


def _relative(
    theta: Tensor, information: Tensor, reference: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights in the gauge that is asked for, their covariance and standard errors."""
    groups = len(theta)
    # Rows are the contrasts with the reference or the mean.
    contrast = torch.eye(groups, dtype=theta.dtype)
    if reference is None:
        contrast = contrast - 1 / groups
    else:
        contrast[:, reference] -= 1
    curvature = torch.ones_like(information) * information.diagonal().mean() / groups
    covariance = contrast @ torch.linalg.inv(information + curvature) @ contrast.mT
    # What a gauge fixes has no error at all, not one of rounding.
    variance = covariance.diagonal().clamp(min=0)
    if reference is not None:
        variance = variance.clone()
        variance[reference] = 0
    return contrast @ theta, covariance, variance.sqrt()


def _check_finite(sizes: Tensor, drawn: Tensor) -> None:
    # Taking an element of i while leaving one of j says that i weighs more; a maximum exists, and
    # is unique, if and only if these relations connect every group with every other both ways.
    taken, left = (drawn > 0).double(), (drawn < sizes).double()
    relation = ((taken.mT @ left) > 0).numpy()
    np.fill_diagonal(relation, False)
    number, label = connected_components(relation, directed=True, connection="strong")
    if number == 1:
        return
    components = [np.flatnonzero(label == k).tolist() for k in range(number)]
    raise NoFiniteEstimateError(_explain(sizes, drawn, components), components)


def _explain(sizes: Tensor, drawn: Tensor, components: list[list[int]]) -> str:
    reasons = []
    for group in range(sizes.shape[-1]):
        size, count = sizes[:, group].sum(), drawn[:, group].sum()
        if size == 0:
            reasons.append(f"group {group} has no elements in any stratum")
        elif count == 0:
            reasons.append(f"group {group} was never drawn in any stratum")
        elif count == size:
            reasons.append(f"group {group} was drawn wholly in every stratum")
    if not reasons:
        names = " / ".join(str(component) for component in components)
        reasons.append(
            f"no stratum compares the groups {names} in both directions, so their weights relative "
            "to each other are not bounded by the data"
        )
    return "The maximum-likelihood weights are not finite: " + "; ".join(reasons) + "."
