# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The interface of the posteriors: what the report needs from each engine of inference."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Posterior(Protocol):
    """The posterior of the log-weights, and how it was found."""

    @property
    def engine(self) -> str:
        """Name of the engine, as in ``--engine``."""
        ...

    @property
    def diverging(self) -> Tensor | None:
        """Which draws have diverged, (chains, samples); None if the engine cannot diverge."""
        ...

    def relative_to(self, reference: int) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of each log-weight relative to the reference."""
        ...

    def interval(self, reference: int) -> tuple[Tensor, Tensor]:
        """5 % and 95 % points of each log-weight relative to the reference."""
        ...

    def draws(self, samples: int, seed: int) -> Tensor:
        """Draws of the log-weights, of shape (chains, samples, G)."""
        ...

    def how(self) -> str:
        """One line that says how the inference went."""
        ...

    def diagnostics(self) -> dict[str, Any]:
        """How the inference went, as numbers for JSON."""
        ...

    def warning(self) -> str:
        """Why the posterior is not reliable; empty if it is."""
        ...
