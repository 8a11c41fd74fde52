# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
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

from ..distributions import FisherHypergeometric
from .table import Table

_WINDOW, _TOLERANCE = 100, 0.02
# A step on a large table takes fewer particles, for a memory and time that stay bounded.
_MIN_PARTICLES, _MAX_PARTICLES, _MAX_CELLS = 8, 32, 50_000
_LEARNING_RATE, _FINAL_LEARNING_RATE = 0.015, 0.003
_MAX_NEWTON_STEPS = 100


class Posterior(NamedTuple):
    """The Gaussian posterior of the log-weights: location + factor @ standard normal."""

    location: Tensor  # (G,), sums to 0
    factor: Tensor  # (G, G - 1)
    elbo: float
    steps: int
    settled: bool

    def relative_to(self, reference: int) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of every log-weight less the reference's, exactly."""
        return _contrast(self.location, self.factor, reference)


def _contrast(location: Tensor, factor: Tensor, reference: int) -> tuple[Tensor, Tensor]:
    return location - location[reference], (factor - factor[reference]).norm(dim=-1)


def infer_posterior(
    table: Table, prior_scale: float, *, reference: int, max_steps: int, seed: int
) -> Posterior:
    """Learns the posterior of the log-weights by stochastic variational inference.

    It stops when it has settled: from one window of steps to the next, no reported median has
    moved by more than 2 % of its standard deviation and no standard deviation by more than 2 %,
    each averaged over its window.
    """
    basis = _zero_sum_basis(len(table.groups))

    def model() -> None:
        weigh(table, prior_scale, basis)

    scope, generator = pyro.get_param_store().scope(), torch.random.fork_rng(devices=[])
    with scope, generator, _one_thread():
        torch.manual_seed(seed)
        guide = _WhitenedNormal(model, *_laplace(table, prior_scale, basis))
        decay = (_FINAL_LEARNING_RATE / _LEARNING_RATE) ** (1 / max_steps)
        svi = SVI(
            model,
            guide,
            ClippedAdam({"lr": _LEARNING_RATE, "lrd": decay}),
            Trace_ELBO(_particles(table), max_plate_nesting=1, vectorize_particles=True),
        )
        return _run(svi, guide, basis, reference, max_steps)


def weigh(table: Table, prior_scale: float, basis: Tensor) -> None:
    """The Pyro model: zero-sum normal log-weights, and a biased urn for every stratum."""
    prior = dist.Normal(basis.new_zeros(basis.shape[-1]), prior_scale).to_event(1)
    log_weights = pyro.sample("coordinates", prior) @ basis.mT
    with pyro.plate("strata", len(table.sizes)):
        urns = FisherHypergeometric(table.counts.sum(-1), table.sizes, log_weights=log_weights)
        pyro.sample("drawn", urns, obs=table.counts)


def _particles(table: Table) -> int:
    return max(_MIN_PARTICLES, min(_MAX_PARTICLES, _MAX_CELLS // table.sizes.numel()))


@contextmanager
def _one_thread() -> Iterator[None]:
    # Threads save little on tensors this small, and where other programs run they wait for each
    # other, ten times longer than the work takes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _PathNormal(dist.MultivariateNormal):
    """A normal law whose log-density passes gradients to the value alone.

    The gradient in the parameters has mean zero under the law itself. Without it the gradient of
    the lower bound stays unbiased, and loses its noise where the guide fits (Roeder, Wu and
    Duvenaud (2017) "Sticking the landing").
    """

    def log_prob(self, value: Tensor) -> Tensor:
        fixed = dist.MultivariateNormal(self.loc.detach(), scale_tril=self.scale_tril.detach())
        return fixed.log_prob(value)


class _WhitenedNormal(AutoMultivariateNormal):
    """A full-rank normal guide whose parameters are in units of the Laplace approximation.

    So one learning rate suits every table, whatever its size and however unevenly it determines
    the weights.
    """

    def __init__(self, model: Any, mode: Tensor, factor: Tensor) -> None:
        start = init_to_value(values={"coordinates": torch.zeros_like(mode)})
        super().__init__(model, init_loc_fn=start, init_scale=1.0)
        self.mode, self.factor = mode, factor

    def get_posterior(self, *args: Any, **kwargs: Any) -> dist.MultivariateNormal:
        white = super().get_posterior(*args, **kwargs)
        return _PathNormal(
            self.mode + self.factor @ white.loc, scale_tril=self.factor @ white.scale_tril
        )


def _run(
    svi: SVI, guide: _WhitenedNormal, basis: Tensor, reference: int, max_steps: int
) -> Posterior:
    trail = _Trail(basis, reference)
    with tqdm(total=max_steps, desc="SVI", unit="step") as bar:
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
    """Averages of the guide over windows of steps, which are far less noisy than its last state."""

    def __init__(self, basis: Tensor, reference: int) -> None:
        self._basis, self._reference = basis, reference
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

    def average(self, settled: bool) -> Posterior:
        steps = len(self._states)
        window = 2 * _WINDOW if settled else min(_WINDOW, (steps + 1) // 2)
        location, factor = self._mean(-window, None)
        return Posterior(location, factor, self.elbo(), steps, settled)

    def _mean(self, start: int, stop: int | None) -> tuple[Tensor, Tensor]:
        states = self._states[start:stop]
        location = torch.stack([location for location, _, _ in states]).mean(0)
        factor = torch.stack([factor for _, factor, _ in states]).mean(0)
        return self._basis @ location, self._basis @ factor


def _zero_sum_basis(groups: int) -> Tensor:
    # Helmert's contrasts: orthonormal, and orthogonal to adding a constant to every log-weight.
    rows = torch.arange(groups, dtype=torch.float64).unsqueeze(-1)
    k = torch.arange(1, groups, dtype=torch.float64)
    contrasts = torch.where(rows < k, 1.0, torch.where(rows == k, -k, 0.0))
    return contrasts / (k * (k + 1)).sqrt()


def _laplace(table: Table, prior_scale: float, basis: Tensor) -> tuple[Tensor, Tensor]:
    # The log-density is strictly concave, so damped Newton steps reach the only mode.
    def log_density(z: Tensor) -> tuple[Tensor, FisherHypergeometric]:
        total = table.counts.sum(-1)
        urns = FisherHypergeometric(total, table.sizes, log_weights=basis @ z)
        return urns.log_prob(table.counts).sum() - 0.5 * (z / prior_scale).square().sum(), urns

    z = basis.new_zeros(basis.shape[-1])
    value, urns = log_density(z)
    for _ in range(_MAX_NEWTON_STEPS):
        gradient = (table.counts - urns.mean).sum(0) @ basis - z / prior_scale**2
        step = torch.cholesky_solve(gradient.unsqueeze(-1), _root(urns, prior_scale, basis))
        step = step.squeeze(-1)
        if gradient @ step < 1e-12:
            break
        length = 1.0
        while length > 1e-6:
            new_value, new_urns = log_density(z + length * step)
            if new_value >= value:
                break
            length /= 2
        else:
            break
        z, value, urns = z + length * step, new_value, new_urns
    root = _root(urns, prior_scale, basis)
    return z, torch.linalg.cholesky(torch.cholesky_inverse(root))


def _root(urns: FisherHypergeometric, prior_scale: float, basis: Tensor) -> Tensor:
    information = basis.mT @ urns.covariance_matrix.sum(0) @ basis
    prior = torch.eye(len(information), dtype=basis.dtype) / prior_scale**2
    return torch.linalg.cholesky(information + prior)
