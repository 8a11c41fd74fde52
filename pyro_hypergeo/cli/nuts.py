# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``nuts``: the posterior by Hamiltonian Monte Carlo."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .chains import Chains, run_chains
from .model import laplace, one_thread
from .potential import Potential
from .table import Table

#: The least number of draws in a chain: split r_hat needs so many.
MIN_SAMPLES = 4


class SampledPosterior(NamedTuple):
    """Draws of the log-weights by NUTS, with diagnostics that say whether they are reliable."""

    log_weights: Tensor  # (chains, samples, G), sums to 0
    diverging: Tensor  # (chains, samples), bool
    warmup: int
    reference: int

    @property
    def engine(self) -> str:
        """Name of the engine, as in ``--engine``."""
        return "nuts"

    @property
    def r_hat(self) -> float:
        """The largest r_hat of the reported quantities; NaN if no chain has moved."""
        return self._reported().r_hat

    @property
    def divergences(self) -> int:
        """Number of draws after the warmup with a divergent trajectory."""
        return self._reported().divergences

    @property
    def effective_samples(self) -> float:
        """The smallest effective sample size of the reported quantities."""
        return self._reported().effective_samples

    def _reported(self) -> Chains:
        # Report differences too: they can mix more slowly than the log-weights.
        relative = self.log_weights - self.log_weights[..., [self.reference]]
        others = [group for group in range(relative.shape[-1]) if group != self.reference]
        draws = torch.cat([self.log_weights, relative[..., others]], -1)
        return Chains(draws, self.diverging, self.warmup)

    def relative_to(self, reference: int) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of each log-weight relative to the reference."""
        contrasts = self._contrasts(reference)
        return contrasts.quantile(0.5, 0), contrasts.std(0)

    def interval(self, reference: int) -> tuple[Tensor, Tensor]:
        """5 % and 95 % points of each log-weight relative to the reference."""
        contrasts = self._contrasts(reference)
        return contrasts.quantile(0.05, 0), contrasts.quantile(0.95, 0)

    def _contrasts(self, reference: int) -> Tensor:
        return (self.log_weights - self.log_weights[..., [reference]]).flatten(0, 1)

    def draws(self, samples: int, seed: int) -> Tensor:
        """All draws, of shape (chains, samples, G); the arguments are not used."""
        return self.log_weights

    def how(self) -> str:
        """One line that says how the inference went."""
        return self._reported().how()

    def diagnostics(self) -> dict[str, Any]:
        """How the inference went, as numbers; None if r_hat or the sample size is not finite."""
        return self._reported().diagnostics()

    def warning(self) -> str:
        """Why the draws are not reliable; empty if they are."""
        return self._reported().warning()


def sample_posterior(
    table: Table,
    prior_scale: float,
    *,
    reference: int,
    samples: int,
    chains: int,
    seed: int,
    law: str = "fisher",
) -> SampledPosterior:
    """Draw log-weights from their posterior by NUTS, one chain after the other.

    NUTS works in units of the Laplace approximation, in which the posterior is nearly a standard
    normal law.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        mode, factor = laplace(table, prior_scale, law)
        potential = Potential(table, prior_scale, law, mode, factor)
        white = run_chains(potential, len(mode), samples, chains)
    return SampledPosterior(
        potential.log_weights(white.draws), white.diverging, white.warmup, reference
    )
