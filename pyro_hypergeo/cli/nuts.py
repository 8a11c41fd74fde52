# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``nuts``: the posterior by Hamiltonian Monte Carlo."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import torch
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size
from torch import Tensor

from .convergence import rank_r_hat
from .model import laplace, one_thread
from .potential import Potential
from .streams import is_terminal
from .table import Table

#: The least number of draws in a chain: split r_hat needs so many.
MIN_SAMPLES = 4
_LARGEST_R_HAT = 1.01
_WARMUP, _ACCEPT = 100, 0.65
# Chains start further apart than draws of the posterior. If they agree in the end, they have
# forgotten where they started.
_START_SPREAD = 2.0


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
        return rank_r_hat(self._reported()).max().item()

    @property
    def divergences(self) -> int:
        """Number of draws after the warmup with a divergent trajectory."""
        return int(self.diverging.sum())

    @property
    def effective_samples(self) -> float:
        """The smallest effective sample size of the reported quantities."""
        return effective_sample_size(self._reported()).min().item()

    def _reported(self) -> Tensor:
        # Report differences too: they can mix more slowly than the log-weights.
        relative = self.log_weights - self.log_weights[..., [self.reference]]
        others = [group for group in range(relative.shape[-1]) if group != self.reference]
        return torch.cat([self.log_weights, relative[..., others]], -1)

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
        chains, samples, _ = self.log_weights.shape
        return (
            f"NUTS: {chains} {'chain' if chains == 1 else 'chains'} of {samples} draws after "
            f"{self.warmup} of warmup, worth {self.effective_samples:.0f} independent ones at "
            f"least; r_hat {self.r_hat:.4f}, {_divergences(self.divergences)}"
        )

    def diagnostics(self) -> dict[str, Any]:
        """How the inference went, as numbers; None if r_hat or the sample size is not finite."""
        chains, samples, _ = self.log_weights.shape
        return {
            "chains": chains,
            "samples": samples,
            "warmup": self.warmup,
            "r_hat": _finite(self.r_hat),
            "effective_samples": _finite(self.effective_samples),
            "divergences": self.divergences,
        }

    def warning(self) -> str:
        """Why the draws are not reliable; empty if they are."""
        reasons = []
        # Not `>=`: NaN must be reported too.
        if not self.r_hat < _LARGEST_R_HAT:
            reasons.append(f"r_hat is {self.r_hat:.4f}, not below {_LARGEST_R_HAT}")
        if self.divergences:
            reasons.append(f"there are {_divergences(self.divergences)}")
        if not reasons:
            return ""
        return f"NUTS has not converged: {' and '.join(reasons)}; give it more by --samples"


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
    normal law. So the mass matrix is the identity, and only the step size has to be learned: that
    takes a short warmup. Chains start at random points around the posterior mode. The spread of
    these points is twice that of the Laplace approximation.
    """
    kept, diverging = [], torch.zeros(chains, samples, dtype=torch.bool)
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        mode, factor = laplace(table, prior_scale, law)
        potential = Potential(table, prior_scale, law, mode, factor)
        step_size, depth = _trajectory(len(mode))
        for chain in range(chains):
            kernel = NUTS(
                potential_fn=potential,
                step_size=step_size,
                max_tree_depth=depth,
                adapt_mass_matrix=False,
                # The posterior is log-concave. So longer steps than usual are safe. They halve the
                # time.
                target_accept_prob=_ACCEPT,
            )
            mcmc = MCMC(
                kernel,
                samples,
                _WARMUP,
                initial_params={"white": _START_SPREAD * torch.randn_like(mode)},
                disable_progbar=not is_terminal(sys.stderr),
            )
            mcmc.run()
            kept.append(potential.log_weights(mcmc.get_samples()["white"]))
            diverging[chain, mcmc.diagnostics()["divergences"]["chain 0"]] = True
    return SampledPosterior(torch.stack(kept), diverging, _WARMUP, reference)


def _trajectory(dimension: int) -> tuple[float, int]:
    """First step size, and largest depth of the tree, for a nearly standard normal law."""
    # The best step size falls so with the dimension. All trajectories have the same period 2 pi.
    # After a whole period, NUTS does not see that it has turned, and would go on. So the longest
    # trajectory is about one period. Half a period is enough.
    step_size = 2 * max(dimension, 1) ** -0.25
    return step_size, 1 + round(math.log2(1 + math.pi / step_size))


def _divergences(number: int) -> str:
    return f"{number} {'divergence' if number == 1 else 'divergences'}"


def _finite(value: float) -> float | None:
    return value if abs(value) < torch.inf else None
