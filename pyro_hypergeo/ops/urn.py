# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The urn as the functions need it: float64, edges masked. And the sizes of tables as numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Size, Tensor

from .tracing import largest, may_branch, nan_unless, unwrapped


class Urn(NamedTuple):
    """The urn in float64.

    Some entries of a batch have only one possible draw (nothing drawn, everything drawn) or none.
    They are replaced by a harmless problem. So no function needs a branch, and no gradient meets a
    NaN. The masks remember the true answer.
    """

    log_weights: Tensor  # (..., G), finite
    sizes: Tensor  # (..., G), 0 where the weight is 0
    total: Tensor  # (...), strictly between 0 and the sum of sizes
    interior: Tensor  # (...), bool: the entry is the problem that was asked for
    edge: Tensor  # (..., G): the only possible counts where not interior
    feasible: Tensor  # (...), bool: such a draw exists at all

    @property
    def ordinary(self) -> bool:
        """Whether all entries are known to be interior, and no group to be without an element.

        Then nothing has to be masked. It is never known where Python must not look at values.
        """
        return False

    def expand(self, batch_shape: Size) -> Urn:
        """The same urn for a larger batch shape."""
        return type(self)(*grow(batch_shape, self.total.dim(), *self))

    def flat(self, rows: Tensor) -> Urn:
        """Some urns of the batch, in one dimension."""
        dim = self.total.dim()
        return type(self)(*(x.reshape(-1, *x.shape[dim:])[rows] for x in self))

    def flipped(self) -> Urn:
        """The same urns with the groups in reverse order."""
        return self._replace(
            log_weights=self.log_weights.flip(-1),
            sizes=self.sizes.flip(-1),
            edge=self.edge.flip(-1),
        )


class OrdinaryUrn(Urn):
    """An urn in which nothing has to be masked."""

    @property
    def ordinary(self) -> bool:
        """True."""
        return True


def grow(batch_shape: Size, batch_dim: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Expand tensors to a larger batch shape; the batch is their first ``batch_dim`` dimensions."""
    return tuple(x.expand(batch_shape + x.shape[batch_dim:]) for x in tensors)


def make_urn(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Urn:
    r"""Broadcast the three parameters, and separate the edges from the interior.

    Cost: O(G).

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: an :class:`Urn` in float64, differentiable in the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import make_urn
    >>> urn = make_urn(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor([3.0, 10.0]),
    ... )
    >>> urn.interior  # of the second urn, everything is drawn
    tensor([ True, False])
    """
    theta, sizes, total = _broadcast(log_weights, group_sizes, total_count)
    if may_branch(theta) and _all_present(theta.detach(), sizes):
        interior = (total > 0) & (total < sizes.sum(-1))
        if interior.all():
            if torch.is_inference_mode_enabled():
                theta = theta.detach()  # as all other results there
            return OrdinaryUrn(theta, sizes, total, interior, sizes, interior)
    present = (theta != -torch.inf) & (sizes > 0)
    zero, one = torch.zeros_like(theta), torch.ones_like(theta)
    reachable = torch.where(present, sizes, zero)
    everything = reachable.sum(-1)
    interior = (total > 0) & (total < everything)
    inside = interior.unsqueeze(-1)
    return Urn(
        log_weights=torch.where(present & inside, theta, zero),
        sizes=torch.where(inside, reachable, one),
        total=torch.where(interior, total, 0.5 * theta.shape[-1]),
        interior=interior,
        edge=torch.where((total > 0).unsqueeze(-1), reachable, zero),
        feasible=(total >= 0) & (total <= everything),
    )


def _all_present(theta: Tensor, sizes: Tensor) -> bool:
    return theta.amin().item() > -torch.inf and sizes.amin().item() > 0


def log_of_weights(weights: Tensor) -> Tensor:
    """Logarithms of weights; ``-inf`` with gradient 0 for a weight of 0 (torch gives NaN)."""
    zero = weights == 0
    return torch.where(zero, -torch.inf, torch.log(torch.where(zero, 1.0, weights)))


def _broadcast(
    log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    shape = log_weights.shape
    theta, sizes, total = log_weights.double(), group_sizes.detach(), total_count.detach()
    # In a trace the shapes are tensors.
    known = not torch.jit.is_tracing()
    if not (known and group_sizes.shape == shape and total_count.shape == shape[:-1]):
        shape = torch.broadcast_shapes(shape, group_sizes.shape, (*total_count.shape, 1))
        theta, sizes, total = theta.expand(shape), sizes.expand(shape), total.expand(shape[:-1])
    return theta, sizes.double(), total.double()


class Bounds:
    """How large tables must be, as Python numbers. Each number is read from the device once.

    :param Tensor group_sizes: shape ``(..., G)``.
    :param Tensor total_count: shape ``(...)``.
    :param known: ``size`` and ``total``, if they are known already.

    >>> import torch
    >>> from pyro_hypergeo.ops import Bounds
    >>> bounds = Bounds(
    ...     group_sizes=torch.tensor([[6.0, 4.0], [2.0, 1.0]]), total_count=torch.tensor([3.0, 2.0])
    ... )
    >>> bounds.size, bounds.total, bounds.elements
    (6, 3, 10)
    """

    def __init__(
        self, group_sizes: Tensor, total_count: Tensor, known: tuple[int, int] | None = None
    ) -> None:
        self._group_sizes, self._total_count = group_sizes, total_count
        self._size: int | None = None
        self._total: int | None = None
        self._elements: int | None = None
        self._one_urn: tuple[list[int], int] | None = None
        if known is not None:
            self._size, self._total = known

    @property
    def size(self) -> int:
        """The largest size of a group."""
        if self._size is None:
            self._size = largest(self._group_sizes)
        return self._size

    @property
    def total(self) -> int:
        """The largest number of elements drawn."""
        if self._total is None:
            self._total = largest(self._total_count)
        return self._total

    @property
    def elements(self) -> int:
        """The largest number of elements in an urn."""
        if self._elements is None:
            self._elements = largest(self._group_sizes.sum(-1))
        return self._elements

    def one_urn(self) -> tuple[list[int], int]:
        """Sizes and total of the urn, if all entries of the batch are the same urn.

        :return: the sizes as a list of integers, and the total.
        :raises NotImplementedError: if sizes or totals differ within the batch.
        """
        totals = unwrapped(self._total_count).reshape(-1)
        sizes = unwrapped(self._group_sizes)
        sizes = sizes.reshape(-1, sizes.shape[-1])
        if not ((totals == totals[0]).all() and (sizes == sizes[0]).all()):
            raise NotImplementedError(
                "Inhomogeneous total count or group sizes not supported by `enumerate_support`."
            )
        self._one_urn = [int(size) for size in sizes[0].tolist()], int(totals[0])
        return self._one_urn

    def guard(self, result: Tensor, log_weights: Tensor | None = None) -> Tensor:
        """The result; in a trace, NaN for urns for which the numbers read here do not hold.

        The numbers are constants of a trace. Tables of these sizes also serve smaller urns. A list
        of counts serves one urn only. If any urn of a batch does not fit, the whole result is NaN.

        :param Tensor result: what was computed with these numbers, in a floating-point dtype.
        :param Tensor log_weights: what else must have a gradient of NaN then. Give it if the result
            may not depend on the log-weights for urns that do not fit.
        """
        if not torch.jit.is_tracing():
            return result
        sizes, total = self._group_sizes, self._total_count
        read = (self._size, sizes), (self._total, total), (self._elements, sizes.sum(-1))
        holds = [(counts <= bound).all() for bound, counts in read if bound is not None]
        if self._one_urn is not None:
            of_list, drawn = self._one_urn
            holds += [(sizes == sizes.new_tensor(of_list)).all(), (total == drawn).all()]
        if not holds:
            return result
        if log_weights is not None:
            finite = torch.where(log_weights.isfinite(), log_weights, 0.0)
            result = result + nan_unless(torch.stack(holds).all(), 0.0 * finite.sum())
        return nan_unless(torch.stack(holds).all(), result)
