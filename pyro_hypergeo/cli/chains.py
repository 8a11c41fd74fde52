# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Chains of NUTS, and whether they are reliable."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size
from torch import Tensor

from .convergence import rank_r_hat
from .streams import is_terminal

_LARGEST_R_HAT = 1.01
_WARMUP, _ACCEPT = 100, 0.65
# Chains start further apart than draws of the posterior. If they agree in the end, they have
# forgotten where they started.
_START_SPREAD = 2.0


class Chains(NamedTuple):
    """Draws of some quantities, with diagnostics that say whether they are reliable."""

    draws: Tensor  # (chains, samples, quantities)
    diverging: Tensor  # (chains, samples), bool
    warmup: int

    @property
    def r_hat(self) -> float:
        """The largest r_hat of the quantities; NaN if no chain has moved."""
        return rank_r_hat(self.draws).max().item()

    @property
    def divergences(self) -> int:
        """Number of draws after the warmup with a divergent trajectory."""
        return int(self.diverging.sum())

    @property
    def effective_samples(self) -> float:
        """The smallest effective sample size of the quantities."""
        return effective_sample_size(self.draws).min().item()

    def how(self) -> str:
        """One line that says how the inference went."""
        chains, samples, _ = self.draws.shape
        return (
            f"NUTS: {chains} {'chain' if chains == 1 else 'chains'} of {samples} draws after "
            f"{self.warmup} of warmup, worth {self.effective_samples:.0f} independent ones at "
            f"least; r_hat {self.r_hat:.4f}, {_divergences(self.divergences)}"
        )

    def diagnostics(self) -> dict[str, Any]:
        """How the inference went, as numbers; None if r_hat or the sample size is not finite."""
        chains, samples, _ = self.draws.shape
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


def run_chains(
    potential: Callable[[dict[str, Tensor]], Tensor], dimension: int, samples: int, chains: int
) -> Chains:
    """Draw from a nearly standard normal law by NUTS, one chain after the other.

    So the mass matrix is the identity, and only the step size has to be learned: that takes a short
    warmup. Chains start at random points. Their spread is twice that of the law.

    :param potential: minus the log-density at ``parameters["white"]``, of shape ``(dimension,)``.
    """
    kept, diverging = [], torch.zeros(chains, samples, dtype=torch.bool)
    step_size, depth = _trajectory(dimension)
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
        start = torch.randn(dimension, dtype=torch.float64)
        mcmc = MCMC(
            kernel,
            samples,
            _WARMUP,
            initial_params={"white": _START_SPREAD * start},
            disable_progbar=not is_terminal(sys.stderr),
        )
        mcmc.run()
        kept.append(mcmc.get_samples()["white"])
        diverging[chain, mcmc.diagnostics()["divergences"]["chain 0"]] = True
    return Chains(torch.stack(kept), diverging, _WARMUP)


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
