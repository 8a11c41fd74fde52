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
from .potential import energy_at

_NORMAL_Q95 = 1.6448536269514722


class CoefficientsPosterior(NamedTuple):
    """The posterior of the coefficients in the units of the covariates."""

    engine: str  # as in --engine
    median: Tensor  # (p,)
    sd: Tensor  # (p,)
    q05: Tensor  # (p,)
    q95: Tensor  # (p,)
    log_evidence: float | None  # of Laplace's approximation
    chains: Chains | None  # of NUTS

    def how(self) -> str:
        """One line that says how the inference went."""
        if self.chains is not None:
            return self.chains.how()
        return (
            "Laplace approximation: the normal distribution at the mode of the posterior; "
            f"log-evidence {self.log_evidence:.3f}, nearly"
        )

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
        sd = density.factor.norm(dim=-1) / likelihood.scale
    median, reach = density.mode / likelihood.scale, _NORMAL_Q95 * sd
    return CoefficientsPosterior(
        "laplace", median, sd, median - reach, median + reach, density.log_evidence, None
    )


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
    return CoefficientsPosterior(
        "nuts", median, flat.std(0), low, high, None, white._replace(draws=draws)
    )


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
