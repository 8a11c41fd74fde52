# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The solved urn of Wallenius' law: its moments, computed once when they are first needed."""

from __future__ import annotations

from torch import Size, Tensor
from torch.distributions.utils import lazy_property

from ..urn import Urn, grow
from .mixture import snapshots
from .moments import wallenius_covariance_given, wallenius_mean_given


class WalleniusState:
    """An urn, and its moments. They are computed when they are first needed."""

    def __init__(self, urn: Urn) -> None:
        self.urn = urn

    @lazy_property
    def mean(self) -> Tensor:
        """Mean counts, (..., G)."""
        return wallenius_mean_given(self.urn, snapshots(self.urn))

    @lazy_property
    def covariance(self) -> Tensor:
        """Covariances of the counts, (..., G, G)."""
        at = snapshots(self.urn)
        # With the snapshots, the mean costs nearly nothing more.
        self.__dict__.setdefault("mean", wallenius_mean_given(self.urn, at))
        return wallenius_covariance_given(self.urn, at)

    def expand(self, batch_shape: Size) -> WalleniusState:
        """The same state for a larger batch shape, without computing anything again."""
        new = WalleniusState(self.urn.expand(batch_shape))
        for name in ("mean", "covariance"):
            if name in self.__dict__:
                known = self.__dict__[name]
                (new.__dict__[name],) = grow(batch_shape, self.urn.total.dim(), known)
        return new
