# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``svi``: the posterior by stochastic variational inference."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..distributions.laws import LAWS
from ..infer.maximum import log_likelihood, table_size
from ..ops.fisher.law import FISHER
from ..ops.law import Law
from ..ops.zero_sum import zero_sum_vector
from .model import in_coordinates, laplace, log_prior, one_thread
from .streams import is_terminal
from .table import Table

# A large table gets fewer samples. This bounds time and memory. But its posterior is closer to a
# normal law, and then fewer samples are enough.
_MIN_SAMPLES, _MAX_SAMPLES, _MAX_CELLS = 8, 512, 300_000
# A step moves medians and standard deviations by less than this share of a standard deviation.
_SETTLED = 2e-3
# The share of the new precision. With all of it, steps overshoot on skewed posteriors.
_SHARE = 0.8
# The bound may fall by so much, since it comes from samples.
_SLACK = 1e-3
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
        steps = f"{self.steps} {'step' if self.steps == 1 else 'steps'}"
        if self.settled:
            how = f"settled after {steps}"
        else:
            how = f"has NOT settled after {steps} (give it more by --steps)"
        return f"variational inference: {how}; evidence lower bound {self.elbo:.3f}"

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
        now = bound.at(mode, factor)
        hidden = not is_terminal(sys.stderr)
        with tqdm(total=max_steps, desc="SVI", unit="step", disable=hidden) as bar:
            for step in range(1, max_steps + 1):
                new = _step(bound, now)
                moved = _moved(now, new, reference)
                now = new
                bar.update()
                if moved < _SETTLED:
                    return _posterior(now, step, settled=True)
        return _posterior(now, max_steps, settled=False)


class _Normal(NamedTuple):
    """A normal law in the coordinates of the log-weights, and means under it."""

    location: Tensor  # (G - 1,)
    factor: Tensor  # (G - 1, G - 1), a root of the covariance
    elbo: float
    gradient: Tensor  # (G - 1,): the mean gradient of the log-density
    precision: Tensor  # (G - 1, G - 1): minus its mean second derivative


class _Bound:
    """The lower bound of the log-evidence as a function of the normal law, with fixed noise."""

    def __init__(self, table: Table, prior_scale: float, law: str) -> None:
        self._scale, self._law = prior_scale, LAWS[law].law
        self._noise = _noise(table, self._law)
        samples = len(self._noise)
        self._sizes = table.sizes.expand(samples, -1, -1).flatten(0, 1)
        self._counts = table.counts.expand(samples, -1, -1).flatten(0, 1)

    def at(self, location: Tensor, factor: Tensor) -> _Normal:
        """The bound at a normal law."""
        samples, dimension = self._noise.shape
        z = location + self._noise @ factor.mT
        theta = zero_sum_vector(z).repeat_interleave(len(self._sizes) // samples, 0)
        known = log_likelihood(self._law, theta, self._sizes, self._counts)
        gradient, information = in_coordinates(known)
        joint = known.value / samples + log_prior(z, self._scale).mean()
        # Not the mean of the square: then the noise of the joint density and its own cancel.
        surprise = 0.5 * self._noise.square().sum(-1).mean()
        volume = 0.5 * dimension * math.log(2 * math.pi) + factor.diagonal().log().sum()
        return _Normal(
            location,
            factor,
            float(joint + surprise + volume),
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
    pairs = max(_MIN_SAMPLES, min(_MAX_SAMPLES, most)) // 2
    half = torch.randn(pairs, groups - 1, dtype=table.sizes.dtype)
    if pairs >= 8 * (groups - 1):
        # Their second moments become exact too.
        root = torch.linalg.cholesky(half.mT @ half / pairs)
        half = torch.linalg.solve_triangular(root, half.mT, upper=False).mT
    return torch.cat([half, -half])


def _step(bound: _Bound, now: _Normal) -> _Normal:
    length = 1.0
    dimension = len(now.location)
    # The old precision, for steps that are shortened.
    old = torch.cholesky_inverse(now.factor) if dimension else now.precision
    while True:
        precision = torch.lerp(old, now.precision, _SHARE * length)
        root = torch.linalg.cholesky(precision)
        move = torch.cholesky_solve(now.gradient.unsqueeze(-1), root).squeeze(-1)
        factor = torch.linalg.cholesky(torch.cholesky_inverse(root))
        new = bound.at(now.location + length * move, factor)
        if new.elbo >= now.elbo - _SLACK or length < 0.01:
            return new
        length /= 2


def _moved(old: _Normal, new: _Normal, reference: int) -> float:
    """The largest move of a reported median or standard deviation, in standard deviations."""
    median, sd = _contrast(*_in_groups(new), reference)
    old_median, old_sd = _contrast(*_in_groups(old), reference)
    scale = sd.clamp(min=torch.finfo(sd.dtype).tiny)
    return float((torch.maximum((median - old_median).abs(), (sd - old_sd).abs()) / scale).max())


def _in_groups(normal: _Normal) -> tuple[Tensor, Tensor]:
    return zero_sum_vector(normal.location), zero_sum_vector(normal.factor.mT).mT


def _posterior(normal: _Normal, steps: int, settled: bool) -> NormalPosterior:
    return NormalPosterior(*_in_groups(normal), normal.elbo, steps, settled)
