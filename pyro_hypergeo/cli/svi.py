# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine ``svi``: the posterior by stochastic variational inference."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from pyro.infer.autoguide.initialization import init_to_value
from pyro.optim import ClippedAdam
from torch import Tensor
from tqdm import tqdm

from ..ops.zero_sum import zero_sum_vector
from .model import laplace, one_thread, weights_model
from .streams import is_terminal
from .table import Table

_WINDOW, _TOLERANCE = 100, 0.02
# A large table gets fewer particles in each step. This bounds time and memory.
_MIN_PARTICLES, _MAX_PARTICLES, _MAX_CELLS = 8, 32, 50_000
_LEARNING_RATE, _FINAL_LEARNING_RATE = 0.015, 0.003
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
        if self.settled:
            how = f"settled after {self.steps} steps"
        else:
            how = f"has NOT settled after {self.steps} steps (give it more by --steps)"
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
    """Learn the posterior of the log-weights by stochastic variational inference.

    Medians and standard deviations are averaged over windows of 100 steps. The run stops when they
    have settled: from one window to the next, no reported median moves by more than 2 % of its
    standard deviation, and no standard deviation by more than 2 %.
    """

    def model() -> None:
        weights_model(table, prior_scale, law)

    scope, generator = pyro.get_param_store().scope(), torch.random.fork_rng(devices=[])
    with scope, generator, one_thread():
        torch.manual_seed(seed)
        guide = _WhitenedNormal(model, *laplace(table, prior_scale, law))
        decay = (_FINAL_LEARNING_RATE / _LEARNING_RATE) ** (1 / max_steps)
        svi = SVI(
            model,
            guide,
            ClippedAdam({"lr": _LEARNING_RATE, "lrd": decay}),
            Trace_ELBO(_particles(table), max_plate_nesting=1, vectorize_particles=True),
        )
        return _run(svi, guide, reference, max_steps)


def _particles(table: Table) -> int:
    return max(_MIN_PARTICLES, min(_MAX_PARTICLES, _MAX_CELLS // table.sizes.numel()))


class _PathNormal(dist.MultivariateNormal):
    """A normal distribution whose log-density has a gradient in the value only.

    The gradient in the parameters has the mean zero. Without it, the gradient of the lower bound
    stays unbiased. And it has no noise if the guide equals the posterior.

    [1] Roeder, G., Wu, Y. and Duvenaud, D. (2017) "Sticking the landing: simple, lower-variance
        gradient estimators for variational inference", NeurIPS.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        fixed = dist.MultivariateNormal(self.loc.detach(), scale_tril=self.scale_tril.detach())
        return fixed.log_prob(value)


class _WhitenedNormal(AutoMultivariateNormal):
    """A full-rank normal guide whose parameters are in units of the Laplace approximation.

    So one learning rate suits every table, large or small, even if the table determines some
    weights much better than others.
    """

    def __init__(self, model: Any, mode: Tensor, factor: Tensor) -> None:
        start = init_to_value(values={"log_weights": zero_sum_vector(torch.zeros_like(mode))})
        super().__init__(model, init_loc_fn=start, init_scale=1.0)
        self.mode, self.factor = mode, factor

    def get_posterior(self, *args: Any, **kwargs: Any) -> dist.MultivariateNormal:
        white = super().get_posterior(*args, **kwargs)
        return _PathNormal(
            self.mode + self.factor @ white.loc, scale_tril=self.factor @ white.scale_tril
        )


def _run(svi: SVI, guide: _WhitenedNormal, reference: int, max_steps: int) -> NormalPosterior:
    trail = _Trail(reference)
    hidden = not is_terminal(sys.stderr)
    with tqdm(total=max_steps, desc="SVI", unit="step", disable=hidden) as bar:
        for step in range(1, max_steps + 1):
            elbo = -svi.step()
            with torch.no_grad():
                posterior = guide.get_posterior()
            trail.add(posterior.loc, posterior.scale_tril, elbo)
            bar.update()
            if step % _WINDOW == 0:
                bar.set_postfix_str(f"ELBO {trail.elbo():.3f}", refresh=False)
                if trail.settled():
                    return trail.average(settled=True)
    return trail.average(settled=False)


class _Trail:
    """Averages of the guide over windows of steps: much less noisy than its last state."""

    def __init__(self, reference: int) -> None:
        self._reference = reference
        self._states: list[tuple[Tensor, Tensor, float]] = []

    def add(self, location: Tensor, factor: Tensor, elbo: float) -> None:
        self._states.append((location, factor, elbo))

    def elbo(self) -> float:
        recent = self._states[-_WINDOW:]
        return math.fsum(elbo for _, _, elbo in recent) / len(recent)

    def settled(self) -> bool:
        if len(self._states) < 2 * _WINDOW:
            return False
        before, now = self._mean(-2 * _WINDOW, -_WINDOW), self._mean(-_WINDOW, None)
        median, sd = _contrast(*now, self._reference)
        old_median, old_sd = _contrast(*before, self._reference)
        scale = sd.clamp(min=torch.finfo(sd.dtype).tiny)
        moved = torch.maximum((median - old_median).abs(), (sd - old_sd).abs()) / scale
        return bool(moved.max() < _TOLERANCE)

    def average(self, settled: bool) -> NormalPosterior:
        steps = len(self._states)
        window = 2 * _WINDOW if settled else min(_WINDOW, (steps + 1) // 2)
        location, factor = self._mean(-window, None)
        return NormalPosterior(location, factor, self.elbo(), steps, settled)

    def _mean(self, start: int, stop: int | None) -> tuple[Tensor, Tensor]:
        states = self._states[start:stop]
        location = torch.stack([location for location, _, _ in states]).mean(0)
        factor = torch.stack([factor for _, factor, _ in states]).mean(0)
        return zero_sum_vector(location), zero_sum_vector(factor.mT).mT
