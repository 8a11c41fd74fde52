# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What every engine of inference hands to the report."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Posterior(Protocol):
    """The posterior of the log-weights, and how it was found."""

    @property
    def engine(self) -> str:
        """How ``--engine`` names it."""
        ...

    @property
    def diverging(self) -> Tensor | None:
        """Which draws have diverged, (chains, samples); None if nothing can diverge."""
        ...

    def relative_to(self, reference: int) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of every log-weight less the reference's."""
        ...

    def interval(self, reference: int) -> tuple[Tensor, Tensor]:
        """5 % and 95 % points of every log-weight less the reference's."""
        ...

    def draws(self, samples: int, seed: int) -> Tensor:
        """Draws of the log-weights, of shape (chains, samples, G)."""
        ...

    def how(self) -> str:
        """How the inference went, in a line."""
        ...

    def diagnostics(self) -> dict[str, Any]:
        """The same as numbers, for JSON."""
        ...

    def warning(self) -> str:
        """Why the posterior cannot be relied on; empty if it can."""
        ...
