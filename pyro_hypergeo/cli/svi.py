# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``svi``: the posterior by stochastic variational inference."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..distributions.laws import LAWS
from ..infer.maximum import log_likelihood, table_size
from ..ops.fisher.law import FISHER
from ..ops.law import Law
from ..ops.zero_sum import zero_sum_vector
from .model import in_coordinates, laplace, log_prior, one_thread
from .natural_steps import NormalLaw, entropy, how_it_settled, settle, standard_noise
from .table import Table

# A large table gets fewer samples. This bounds time and memory. But its posterior is closer to a
# normal law, and then fewer samples are enough.
_MAX_CELLS = 300_000
_NORMAL_Q95 = 1.6448536269514722


class NormalPosterior(NamedTuple):
    """The Gaussian posterior of the log-weights: location + factor @ standard normal."""

    location: Tensor  # (G,), sums to 0
    factor: Tensor  # (G, G - 1)
    elbo: float
    steps: int
    settled: bool

    def relative_to(self, reference: int) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of each log-weight relative to the reference, exactly."""
        return _contrast(self.location, self.factor, reference)

    @property
    def engine(self) -> str:
        """Name of the engine, as in ``--engine``."""
        return "svi"

    @property
    def diverging(self) -> None:
        """None: this engine cannot diverge."""
        return None

    def interval(self, reference: int) -> tuple[Tensor, Tensor]:
        """5 % and 95 % points of each log-weight relative to the reference, exactly."""
        median, sd = self.relative_to(reference)
        return median - _NORMAL_Q95 * sd, median + _NORMAL_Q95 * sd

    def draws(self, samples: int, seed: int) -> Tensor:
        """Independent draws of the log-weights, of shape (1, samples, G)."""
        generator = torch.Generator().manual_seed(seed)
        noise = self.factor.new_empty((1, samples, self.factor.shape[-1]))
        return self.location + noise.normal_(generator=generator) @ self.factor.mT

    def how(self) -> str:
        """One line that says how the inference went."""
        return how_it_settled(self.elbo, self.steps, self.settled)

    def diagnostics(self) -> dict[str, Any]:
        """Nothing: :meth:`how` says everything."""
        return {}

    def warning(self) -> str:
        """Nothing: :meth:`how` says whether the estimates have settled."""
        return ""


def _contrast(location: Tensor, factor: Tensor, reference: int) -> tuple[Tensor, Tensor]:
    return location - location[reference], (factor - factor[reference]).norm(dim=-1)


def infer_posterior(
    table: Table,
    prior_scale: float,
    *,
    reference: int,
    max_steps: int,
    seed: int,
    law: str = "fisher",
) -> NormalPosterior:
    """Find the normal law that is closest to the posterior, by natural-gradient steps.

    It starts at the Laplace approximation. At the closest normal law, the gradient of the
    log-density has the mean 0, and minus the second derivative has the mean of the inverse
    covariance. Each step solves these two equations to first order. The means are over samples of
    the normal law. The noise behind the samples stays the same in all steps. So the steps settle:
    the last one moves no reported median by more than 0.2 % of its standard deviation, and no
    standard deviation by more than 0.2 %.

    **References:**

    [1] Opper, M. and Archambeau, C. (2009) "The variational Gaussian approximation revisited",
        Neural Computation 21(3).
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        mode, factor = laplace(table, prior_scale, law)
        bound = _Bound(table, prior_scale, law)
        now, steps, settled = settle(
            bound, bound.at(mode, factor), max_steps, lambda old, new: _moved(old, new, reference)
        )
    return NormalPosterior(*_in_groups(now), now.elbo, steps, settled)


class _Bound:
    """The lower bound of the log-evidence as a function of the normal law, with fixed noise."""

    def __init__(self, table: Table, prior_scale: float, law: str) -> None:
        self._scale, self._law = prior_scale, LAWS[law].law
        self._noise = _noise(table, self._law)
        samples = len(self._noise)
        self._sizes = table.sizes.expand(samples, -1, -1).flatten(0, 1)
        self._counts = table.counts.expand(samples, -1, -1).flatten(0, 1)

    def at(self, location: Tensor, factor: Tensor) -> NormalLaw:
        """The bound at a normal law."""
        samples, dimension = self._noise.shape
        z = location + self._noise @ factor.mT
        theta = zero_sum_vector(z).repeat_interleave(len(self._sizes) // samples, 0)
        known = log_likelihood(self._law, theta, self._sizes, self._counts)
        gradient, information = in_coordinates(known)
        joint = known.value / samples + log_prior(z, self._scale).mean()
        return NormalLaw(
            location,
            factor,
            float(joint) + entropy(self._noise, factor),
            gradient / samples - z.mean(0) / self._scale**2,
            information / samples + torch.eye(dimension, dtype=z.dtype) / self._scale**2,
        )


def _noise(table: Table, law: Law) -> Tensor:
    """Standard normal samples, (K, G - 1), in pairs of opposite sign."""
    strata, groups = table.sizes.shape
    # Some laws need tables that grow with the sizes. They get fewer samples of large tables.
    usual = FISHER.table_size(groups, 0, 0)
    dear = max(1, table_size(law, table.sizes, table.counts) // usual)
    most = _MAX_CELLS // (strata * groups * dear)
    return standard_noise(most, groups - 1)


def _moved(old: NormalLaw, new: NormalLaw, reference: int) -> float:
    """The largest move of a reported median or standard deviation, in standard deviations."""
    median, sd = _contrast(*_in_groups(new), reference)
    old_median, old_sd = _contrast(*_in_groups(old), reference)
    scale = sd.clamp(min=torch.finfo(sd.dtype).tiny)
    return float((torch.maximum((median - old_median).abs(), (sd - old_sd).abs()) / scale).max())


def _in_groups(normal: NormalLaw) -> tuple[Tensor, Tensor]:
    return zero_sum_vector(normal.location), zero_sum_vector(normal.factor.mT).mT
