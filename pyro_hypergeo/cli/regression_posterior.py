# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The posterior of the coefficients of a regression."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..infer.newton import newton
from ..infer.regression.likelihood import TableLikelihood
from ..ops.law import LogLikelihood
from .chains import Chains, run_chains
from .model import log_prior, one_thread
from .natural_steps import NormalLaw, entropy, how_it_settled, settle, standard_noise
from .potential import energy_at

_NORMAL_Q95 = 1.6448536269514722
# Samples of variational inference are evaluated one after the other. A large table gets fewer.
_MAX_SAMPLES, _MAX_CELLS = 128, 300_000


class CoefficientsPosterior(NamedTuple):
    """The posterior of the coefficients in the units of the covariates."""

    engine: str  # as in --engine
    median: Tensor  # (p,)
    sd: Tensor  # (p,)
    q05: Tensor  # (p,)
    q95: Tensor  # (p,)
    description: str  # how the inference went, in one line
    log_evidence: float | None  # nearly, or a bound of it; None for NUTS
    chains: Chains | None  # of NUTS

    def how(self) -> str:
        """One line that says how the inference went."""
        return self.description

    def diagnostics(self) -> dict[str, Any]:
        """How the inference went, as numbers for JSON."""
        return {} if self.chains is None else self.chains.diagnostics()

    def warning(self) -> str:
        """Why the posterior is not reliable; empty if it is."""
        return "" if self.chains is None else self.chains.warning()


def laplace_coefficients(likelihood: TableLikelihood, prior_scale: float) -> CoefficientsPosterior:
    """The normal distribution with the mode and the curvature of the posterior.

    The prior is normal with mean 0. Its standard deviation is ``prior_scale`` for the coefficient
    of a covariate in units of its standard deviation within strata.
    """
    with one_thread():
        density = _Density(likelihood, prior_scale)
    how = (
        "Laplace approximation: the normal distribution at the mode of the posterior; "
        f"log-evidence {density.log_evidence:.3f}, nearly"
    )
    normal = density.mode, density.factor, likelihood.scale
    return _of_normal("laplace", *normal, how, density.log_evidence)


def settled_coefficients(
    likelihood: TableLikelihood, prior_scale: float, *, max_steps: int, seed: int
) -> CoefficientsPosterior:
    """The normal distribution that is closest to the posterior, with the same prior."""
    with torch.random.fork_rng(devices=[]), one_thread(), torch.no_grad():
        torch.manual_seed(seed)
        density = _Density(likelihood, prior_scale)
        bound = _Bound(density, likelihood)
        start = bound.at(density.mode, density.factor)
        now, steps, settled = settle(bound, start, max_steps, _moved)
    how = how_it_settled(now.elbo, steps, settled)
    return _of_normal("svi", now.location, now.factor, likelihood.scale, how, now.elbo)


def _of_normal(
    engine: str, location: Tensor, factor: Tensor, scale: Tensor, how: str, log_evidence: float
) -> CoefficientsPosterior:
    median, sd = location / scale, factor.norm(dim=-1) / scale
    low, high = median - _NORMAL_Q95 * sd, median + _NORMAL_Q95 * sd
    return CoefficientsPosterior(engine, median, sd, low, high, how, log_evidence, None)


def sample_coefficients(
    likelihood: TableLikelihood, prior_scale: float, *, samples: int, chains: int, seed: int
) -> CoefficientsPosterior:
    """Draw coefficients from their posterior by NUTS, with the same prior.

    NUTS works in units of the Laplace approximation. In these, the posterior is nearly a standard
    normal law.
    """
    with torch.random.fork_rng(devices=[]), one_thread(), torch.no_grad():
        torch.manual_seed(seed)
        density = _Density(likelihood, prior_scale)
        with torch.enable_grad():
            white = run_chains(density, len(density.mode), samples, chains)
        draws = density.scaled(white.draws) / likelihood.scale
    flat = draws.flatten(0, 1)
    low, median, high = (flat.quantile(q, 0) for q in (0.05, 0.5, 0.95))
    kept = white._replace(draws=draws)
    return CoefficientsPosterior("nuts", median, flat.std(0), low, high, kept.how(), None, kept)


class _Density:
    """The log-density of scaled coefficients, and their coordinates around its mode."""

    def __init__(self, likelihood: TableLikelihood, prior_scale: float) -> None:
        self._likelihood, self._prior_scale = likelihood, prior_scale
        found = newton(self.at, torch.zeros_like(likelihood.scale))
        self.mode = found.point
        root = torch.linalg.cholesky(found.likelihood.information)
        self.factor = torch.linalg.cholesky(torch.cholesky_inverse(root))
        self.log_evidence = float(
            found.likelihood.value
            + 0.5 * len(self.mode) * math.log(2 * math.pi)
            + self.factor.diagonal().log().sum()
        )

    def at(self, scaled: Tensor) -> LogLikelihood:
        """The log-density at scaled coefficients (p,), and its derivatives."""
        value, gradient, information = self._likelihood.at(scaled)
        precision = self._prior_scale**-2
        return LogLikelihood(
            value + log_prior(scaled, self._prior_scale),
            gradient - precision * scaled,
            information + precision * torch.eye(len(scaled), dtype=scaled.dtype),
        )

    def scaled(self, white: Tensor) -> Tensor:
        """Scaled coefficients from coordinates (..., p)."""
        return self.mode + white @ self.factor.mT

    def __call__(self, parameters: dict[str, Tensor]) -> Tensor:
        """The energy, differentiable once, at ``parameters["white"]``."""
        return energy_at(parameters["white"], self)

    def energy_and_gradient(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """The energy at one point (p,), and its gradient."""
        with torch.no_grad():
            value, gradient, _ = self.at(self.scaled(white.detach()))
        return -value, -gradient @ self.factor


class _Bound:
    """The lower bound of the log-evidence as a function of the normal law, with fixed noise."""

    def __init__(self, density: _Density, likelihood: TableLikelihood) -> None:
        self._density = density
        most = min(_MAX_SAMPLES, _MAX_CELLS // len(likelihood.table.cells.sizes))
        self._noise = standard_noise(most, len(density.mode))

    def at(self, location: Tensor, factor: Tensor) -> NormalLaw:
        """The bound at a normal law."""
        points = location + self._noise @ factor.mT
        value, gradient, information = (
            torch.stack(parts).mean(0) for parts in zip(*map(self._density.at, points), strict=True)
        )
        elbo = float(value) + entropy(self._noise, factor)
        return NormalLaw(location, factor, elbo, gradient, information)


def _moved(old: NormalLaw, new: NormalLaw) -> float:
    """The largest move of a median or standard deviation, in standard deviations."""
    sd = new.factor.norm(dim=-1)
    moves = (new.location - old.location).abs(), (sd - old.factor.norm(dim=-1)).abs()
    return float((torch.maximum(*moves) / sd).max())
