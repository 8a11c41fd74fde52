# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Intervals from the profile likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .maximum import log_likelihood

if TYPE_CHECKING:
    from .weights_fit import WeightsFit

_MAX_STEPS, _MAX_DOUBLINGS = 100, 60
# Twice the log-likelihood is found to this accuracy; the ends then have about nine digits.
_CONVERGED = 1e-11


def profile_interval(fit: WeightsFit, contrast: Tensor, level: float) -> tuple[float, float]:
    """The values of a contrast that the likelihood does not refute at a level.

    The method :meth:`WeightsFit.profile_interval` checks its arguments, and has the formula.

    >>> import torch
    >>> from pyro_hypergeo import fit_weights
    >>> from pyro_hypergeo.infer.profile import profile_interval
    >>> fit = fit_weights([9, 9], [3, 3])
    >>> low, high = profile_interval(fit, torch.tensor([1.0, -1.0]).double(), 0.95)
    >>> abs(low + high) < 1e-6
    True

    References: Venzon, D. J. and Moolgavkar, S. H. (1988) "A method for computing
    profile-likelihood-based confidence intervals", Applied Statistics 37.
    """
    from scipy.optimize import brentq  # scipy takes as long to import as Pyro
    from scipy.special import chdtri  # scipy takes long to import, and scipy.stats most

    profile = _Profile(fit, contrast)
    best = float(contrast @ fit.log_weights)
    deviation = float(contrast @ fit.covariance @ contrast) ** 0.5
    bound = float(chdtri(1, 1 - level))

    def excess(value: float) -> float:
        return 2 * (fit.log_likelihood.item() - profile(value)) - bound

    ends = []
    for side in (-1, 1):
        inside, step = best, side * deviation * bound**0.5
        for _ in range(_MAX_DOUBLINGS):
            if excess(inside + step) > 0:
                break
            inside, step = inside + step, 2 * step
        else:
            raise RuntimeError("The profile likelihood does not fall; the weights have no bound.")
        ends.append(float(brentq(excess, inside, inside + step, xtol=1e-10, rtol=1e-12)))
    return ends[0], ends[1]


class _Profile:
    """The highest log-likelihood for a value of the contrast."""

    def __init__(self, fit: WeightsFit, contrast: Tensor) -> None:
        self._fit = fit
        self._along = contrast / contrast.square().sum()
        # The log-weights may move at right angles to the contrast, and to a common factor.
        fixed = torch.stack([contrast, torch.ones_like(contrast)], -1)
        self._free = torch.linalg.qr(fixed, mode="complete").Q[:, 2:]
        self._z = self._free.mT @ fit.log_weights

    def __call__(self, value: float) -> float:
        # Start where the last value ended. The log-likelihood is concave, so that damped steps
        # arrive. The decrement is twice what can still be gained.
        best, gradient, information = self._at(self._z, value)
        if len(self._z) == 0:
            return float(best)
        for _ in range(_MAX_STEPS):
            step = torch.linalg.solve(information, gradient)
            if gradient @ step < _CONVERGED:
                return float(best)
            length = 1.0
            new = self._at(self._z + step, value)
            while new[0] < best and length > 1e-6:
                length /= 2
                new = self._at(self._z + length * step, value)
            if new[0] < best:
                return float(best)
            self._z = self._z + length * step
            best, gradient, information = new
        raise RuntimeError(f"The profile likelihood has not converged in {_MAX_STEPS} steps.")

    def _at(self, z: Tensor, value: float) -> tuple[Tensor, Tensor, Tensor]:
        theta = self._along * value + self._free @ z
        known = log_likelihood(self._fit.urn_law, theta, self._fit.group_sizes, self._fit.counts)
        return (
            known.value,
            known.gradient @ self._free,
            self._free.mT @ known.information @ self._free,
        )
