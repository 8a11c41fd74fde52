# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood weights from counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..distributions.laws import law_of
from ..distributions.parameters import Numbers, as_tensor
from ..ops.errors import check
from ..ops.law import Law, LogLikelihood

_MAX_STEPS, _LONGEST_STEP = 100, 5.0
# Newton's decrement is g' H^-1 g: about twice what the log-likelihood can still gain.
_CONVERGED = 1e-24


class WeightsFit(NamedTuple):
    """The result of :func:`fit_weights`: maximum-likelihood log-weights and their accuracy.

    All tensors are float64. Log-weights are relative to the reference group, or to their mean if
    there is no reference.

    >>> from pyro_hypergeo import fit_weights
    >>> fit = fit_weights([10, 20], [6, 4], reference=0)
    >>> fit.log_weights, fit.law
    (tensor([ 0.0000, -1.7202], dtype=torch.float64), 'fisher')

    :ivar torch.Tensor log_weights: estimates, of shape ``(G,)``.
    :ivar torch.Tensor covariance: their covariance matrix, of shape ``(G, G)``: the inverse of the
        observed information, for the same reference.
    :ivar torch.Tensor standard_errors: roots of its diagonal, of shape ``(G,)``.
    :ivar torch.Tensor log_likelihood: log-likelihood at the estimates, in nats, a scalar.
    :ivar torch.Tensor log_likelihood_equal: log-likelihood at equal weights, a scalar.
    :ivar int iterations: number of Newton steps.
    :ivar str law: name of the law.
    """

    log_weights: Tensor
    covariance: Tensor
    standard_errors: Tensor
    log_likelihood: Tensor
    log_likelihood_equal: Tensor
    iterations: int
    law: str = "fisher"


class NoFiniteEstimateError(ValueError):
    """The likelihood has no maximum at finite weights, or it has several.

    Within each list of :attr:`groups`, weights relative to each other have finite estimates.
    Between two lists they have none.

    >>> from pyro_hypergeo import NoFiniteEstimateError, fit_weights
    >>> try:
    ...     fit_weights([10, 20, 30], [0, 4, 7])
    ... except NoFiniteEstimateError as error:
    ...     print(error)
    ...     print(error.groups)
    The maximum-likelihood weights are not finite: group 0 was never drawn in any stratum.
    [[0], [1, 2]]

    :ivar list groups: lists of indices of groups; each group is in one list.
    """

    def __init__(self, message: str, groups: list[list[int]]) -> None:
        super().__init__(message)
        self.groups = groups


def fit_weights(
    group_sizes: Numbers,
    counts: Numbers,
    *,
    reference: int | None = None,
    law: str | Law = "fisher",
) -> WeightsFit:
    r"""
    Maximum-likelihood weights of groups, from the sizes and the drawn counts.

    Each row is a stratum: an urn of its own. All strata have the same weights. The totals are taken
    as given, so this is conditional maximum likelihood. In each stratum the counts have the
    probability

    .. math::

        p(x) \propto \prod_i \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad \sum_i x_i = n ,

    or that of another law. Under Fisher's and Wallenius' law the log-likelihood is concave in
    :math:`\theta`. Newton's method with the exact second derivative needs only a few steps. Cost of
    a step: O(strata G^2 + G^3).

    Example::

        >>> from pyro_hypergeo import fit_weights
        >>> fit = fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]], reference=0)
        >>> fit.log_weights
        tensor([ 0.0000, -1.3654], dtype=torch.float64)
        >>> fit.standard_errors
        tensor([0.0000, 0.5546], dtype=torch.float64)

    **References:**

    [1] McCullagh, P. and Nelder, J. A. (1989) "Generalized Linear Models", section 7.3.

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``; 0 if a stratum does not have
        the group.
    :param counts: drawn counts, of the same shape.
    :param int reference: index of the group whose log-weight is 0; if not given, the log-weights
        have mean 0.
    :param law: ``"fisher"`` (each element is taken or left), ``"wallenius"`` (elements are taken
        one after the other), or a :class:`~pyro_hypergeo.ops.Law`.
    :type law: str or Law
    :return: a :class:`WeightsFit`.
    :raises ValueError: if ``law`` is unknown; if shapes differ; if there is no group
        ``reference``; or if a count is negative, not an integer, or larger than its group.
    :raises NoFiniteEstimateError: if the weight of a group has no finite estimate; it names the
        groups.
    :raises RuntimeError: if Newton's method does not converge in 100 steps.
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
    theta, likelihood, iterations = _newton(law, sizes, drawn)
    equal = law.log_prob(law.solve(torch.zeros_like(sizes), sizes, drawn.sum(-1)), drawn).sum()
    relative, covariance, errors = _relative(theta, likelihood.information, reference)
    return WeightsFit(relative, covariance, errors, likelihood.value, equal, iterations, law.name)


def _as_strata(name: str, values: Numbers) -> Tensor:
    table = as_tensor(values).detach().double()
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
    # Start at the log-odds of the pooled strata. They are never far from the answer, and close to
    # it if the strata are large and similar.
    left = (sizes - drawn).sum(0)
    theta = torch.log((drawn.sum(0) + 0.5) / (left + 0.5))
    for iteration in range(1, _MAX_STEPS + 1):
        _, gradient, information = law.log_likelihood(theta, sizes, drawn)
        step = _solve(information, gradient)
        decrement = gradient @ step
        theta = theta + step * (_LONGEST_STEP / step.abs().max()).clamp(max=1)
        if decrement <= _CONVERGED * information.diagonal().sum().clamp(min=1):
            return theta, law.log_likelihood(theta, sizes, drawn), iteration
    raise RuntimeError(f"Newton's method has not converged in {_MAX_STEPS} steps.")


def _solve(information: Tensor, gradient: Tensor) -> Tensor:
    # A constant added to all log-weights changes nothing, so the information is singular in that
    # direction. We add some curvature there; the solution does not change.
    gauge = torch.ones_like(information) * information.diagonal().mean() / len(gradient)
    return torch.linalg.solve(information + gauge, gradient)


def _relative(
    theta: Tensor, information: Tensor, reference: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights relative to the reference or the mean, their covariance and standard errors."""
    groups = len(theta)
    # Each row makes one log-weight relative to the reference or to the mean.
    contrast = torch.eye(groups, dtype=theta.dtype)
    if reference is None:
        contrast = contrast - 1 / groups
    else:
        contrast[:, reference] -= 1
    curvature = torch.ones_like(information) * information.diagonal().mean() / groups
    covariance = contrast @ torch.linalg.inv(information + curvature) @ contrast.mT
    # The reference is exact: its error is 0, not a rounding error.
    variance = covariance.diagonal().clamp(min=0)
    if reference is not None:
        variance = variance.clone()
        variance[reference] = 0
    return contrast @ theta, covariance, variance.sqrt()


def _check_finite(sizes: Tensor, drawn: Tensor) -> None:
    # Not at the top: it takes as long to import as Pyro does.
    from scipy.sparse.csgraph import connected_components

    # Suppose that in one stratum an element of group i is taken and one of group j is left. Then j
    # cannot weigh infinitely more than i: draw an arrow from i to j. There is exactly one maximum,
    # and it is finite, if and only if arrows lead from every group to every other group.
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
