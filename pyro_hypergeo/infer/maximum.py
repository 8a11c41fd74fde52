# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The maximum of the likelihood over the log-weights, and whether it exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..ops.law import Law, LogLikelihood
from .newton import newton

# Numbers in the largest table of one block of strata: 32 MB.
_CELLS = 4_000_000


class NoFiniteEstimateError(ValueError):
    """The likelihood has no maximum at finite weights or coefficients, or it has several.

    Weights of groups: within each list of :attr:`groups`, weights relative to each other have
    finite estimates. Between two lists they have none.

    >>> from pyro_hypergeo import NoFiniteEstimateError, fit_weights
    >>> try:
    ...     fit_weights([10, 20, 30], [0, 4, 7])
    ... except NoFiniteEstimateError as error:
    ...     print(error)
    ...     print(error.groups)
    The maximum-likelihood weights are not finite: group 0 was never drawn in any stratum.
    [[0], [1, 2]]

    Coefficients of covariates: :attr:`covariates` are those that have no finite or no unique
    coefficient. Along :attr:`direction` the likelihood grows without end.

    :ivar list groups: lists of indices of groups; each group is in one list. Empty if the weights
        depend on covariates.
    :ivar tuple covariates: names of the covariates involved.
    :ivar tuple direction: coefficients of all covariates, the largest is 1 or -1; None if the
        coefficients are not identified.
    """

    def __init__(
        self,
        message: str,
        groups: Sequence[list[int]] = (),
        *,
        covariates: Sequence[str] = (),
        direction: Sequence[float] | None = None,
    ) -> None:
        super().__init__(message)
        self.groups = list(groups)
        self.covariates = tuple(covariates)
        self.direction = None if direction is None else tuple(direction)


def blocks(strata: int, cells: int) -> Iterator[slice]:
    """Parts of the strata, so that the tables of one part are not large.

    >>> from pyro_hypergeo.infer.maximum import blocks
    >>> list(blocks(strata=5, cells=2_000_000))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]

    :param int strata: number of strata.
    :param int cells: how many numbers the largest table has for one stratum.
    :return: slices, in order.
    """
    length = max(1, _CELLS // max(cells, 1))
    for start in range(0, strata, length):
        yield slice(start, min(start + length, strata))


def table_size(law: Law, sizes: Tensor, counts: Tensor) -> int:
    """:meth:`~pyro_hypergeo.ops.Law.table_size` of one stratum, ``(strata, G)`` in all."""
    largest, total = int(sizes.max()), int(counts.sum(-1).max())
    return law.table_size(sizes.shape[-1], largest, total)


def log_likelihood(law: Law, theta: Tensor, sizes: Tensor, counts: Tensor) -> LogLikelihood:
    """:meth:`~pyro_hypergeo.ops.Law.log_likelihood`, summed over strata in blocks.

    The covariance of each stratum is a table of ``(G, G)``. All of them together may not fit into
    memory.

    >>> import torch
    >>> from pyro_hypergeo.infer.maximum import log_likelihood
    >>> from pyro_hypergeo.ops import FISHER
    >>> sizes, counts = torch.tensor([[6.0, 4.0]]), torch.tensor([[2.0, 1.0]])
    >>> log_likelihood(FISHER, torch.zeros(2), sizes, counts).gradient
    tensor([ 0.2000, -0.2000], dtype=torch.float64)

    :param Tensor theta: log-weights, shape ``(G,)``; or ``(strata, G)``, and then the derivatives
        are in a shift of all of them.
    """
    total: LogLikelihood | None = None
    for block in blocks(len(sizes), table_size(law, sizes, counts)):
        of_block = theta if theta.dim() == 1 else theta[block]
        part = law.log_likelihood(of_block, sizes[block], counts[block])
        total = part if total is None else LogLikelihood(*map(torch.add, total, part))
    assert total is not None
    return total


def log_probability(law: Law, theta: Tensor, sizes: Tensor, counts: Tensor) -> Tensor:
    """The value of :func:`log_likelihood` alone, without its derivatives.

    >>> import torch
    >>> from pyro_hypergeo.infer.maximum import log_probability
    >>> from pyro_hypergeo.ops import FISHER
    >>> sizes, counts = torch.tensor([[6.0, 4.0]]), torch.tensor([[2.0, 1.0]])
    >>> log_probability(FISHER, torch.zeros(2), sizes, counts).exp()
    tensor(0.5000, dtype=torch.float64)
    """
    parts = []
    for block in blocks(len(sizes), table_size(law, sizes, counts)):
        total = counts[block].sum(-1)
        state = law.solve(theta.expand(sizes[block].shape), sizes[block], total)
        parts.append(law.log_prob(state, counts[block]).sum())
    return torch.stack(parts).sum()


def maximize(law: Law, sizes: Tensor, drawn: Tensor) -> tuple[Tensor, LogLikelihood, int]:
    """The log-weights of highest likelihood, the likelihood there, and the number of steps.

    Call :func:`check_finite` first. Cost of a step: O(strata G^2 + G^3).

    >>> import torch
    >>> from pyro_hypergeo.infer.maximum import maximize
    >>> from pyro_hypergeo.ops import FISHER
    >>> sizes, drawn = torch.tensor([[9.0, 9.0]]), torch.tensor([[3.0, 3.0]])
    >>> maximize(FISHER, sizes, drawn)[0].diff().abs() < 1e-12
    tensor([True])

    :raises RuntimeError: if Newton's method does not converge in 100 steps.
    """
    # Start at the log-odds of the pooled strata. They are never far from the answer, and close to
    # it if the strata are large and similar.
    left = (sizes - drawn).sum(0)
    theta = torch.log((drawn.sum(0) + 0.5) / (left + 0.5))
    found = newton(partial(log_likelihood, law, sizes=sizes, counts=drawn), theta, _solve)
    return found.point, found.likelihood, found.iterations


def _solve(information: Tensor, gradient: Tensor) -> Tensor:
    # A constant added to all log-weights changes nothing, so the information is singular in that
    # direction. We add some curvature there; the solution does not change.
    gauge = torch.ones_like(information) * information.diagonal().mean() / len(gradient)
    return torch.linalg.solve(information + gauge, gradient)


def relative_to(
    theta: Tensor, information: Tensor, reference: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights relative to the reference or the mean, their covariance and standard errors.

    >>> import torch
    >>> from pyro_hypergeo.infer.maximum import relative_to
    >>> information = torch.tensor([[2.0, -2.0], [-2.0, 2.0]])
    >>> relative_to(torch.tensor([1.0, 3.0]), information, reference=0)[2]
    tensor([0.0000, 0.7071])
    """
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


def check_finite(sizes: Tensor, drawn: Tensor, names: Sequence[str]) -> None:
    """Raise :class:`NoFiniteEstimateError` if the likelihood has no maximum at finite weights.

    >>> import torch
    >>> from pyro_hypergeo.infer.maximum import check_finite
    >>> check_finite(torch.tensor([[5, 4]]), torch.tensor([[5, 1]]), names=["a", "b"])
    Traceback (most recent call last):
    pyro_hypergeo.infer.maximum.NoFiniteEstimateError: ... group a was drawn wholly in ...

    :param Tensor sizes: shape ``(strata, G)``.
    :param Tensor drawn: shape ``(strata, G)``.
    :param names: G names, for the message.
    """
    # Suppose that in one stratum an element of group i is taken and one of group j is left. Then j
    # cannot weigh infinitely more than i: draw an arrow from i to j. There is exactly one maximum,
    # and it is finite, if and only if arrows lead from every group to every other group.
    taken, left = (drawn > 0).double(), (drawn < sizes).double()
    relation = ((taken.mT @ left) > 0).numpy()
    np.fill_diagonal(relation, False)
    if _all_reached(relation) and _all_reached(relation.T):
        return
    from scipy.sparse.csgraph import connected_components  # scipy takes long to import

    number, label = connected_components(relation, directed=True, connection="strong")
    components = [np.flatnonzero(label == k).tolist() for k in range(number)]
    raise NoFiniteEstimateError(_explain(sizes, drawn, names, components), components)


def _all_reached(relation: NDArray[np.bool_]) -> bool:
    """Whether arrows lead from the first group to every other group."""
    reached = np.zeros(len(relation), dtype=bool)
    new = reached.copy()
    new[0] = True
    while new.any():
        reached |= new
        new = relation[new].any(0) & ~reached
    return bool(reached.all())


def _explain(
    sizes: Tensor, drawn: Tensor, names: Sequence[str], components: list[list[int]]
) -> str:
    reasons = []
    for group, name in enumerate(names):
        size, count = sizes[:, group].sum(), drawn[:, group].sum()
        if size == 0:
            reasons.append(f"group {name} has no elements in any stratum")
        elif count == 0:
            reasons.append(f"group {name} was never drawn in any stratum")
        elif count == size:
            reasons.append(f"group {name} was drawn wholly in every stratum")
    if not reasons:
        parts = ["[" + ", ".join(names[i] for i in part) + "]" for part in components]
        reasons.append(
            f"no stratum compares the groups {' / '.join(parts)} in both directions, so their "
            "weights relative to each other are not bounded by the data"
        )
    return "The maximum-likelihood weights are not finite: " + "; ".join(reasons) + "."
