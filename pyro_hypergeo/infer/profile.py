# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Intervals from the profile likelihood."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..ops.law import LogLikelihood

_MAX_STEPS, _MAX_DOUBLINGS = 100, 60
# Twice the log-likelihood is found to this accuracy; the ends then have about nine digits.
_CONVERGED = 1e-11


def profile_interval(
    evaluate: Callable[[Tensor], LogLikelihood],
    best: Tensor,
    covariance: Tensor,
    contrast: Tensor,
    level: float,
    *,
    gauge: bool = False,
) -> tuple[float, float]:
    """The values of a contrast that the likelihood does not refute at a level.

    The method :meth:`WeightsFit.profile_interval` has the formula.

    >>> import torch
    >>> from pyro_hypergeo.infer.profile import profile_interval
    >>> from pyro_hypergeo.ops.law import LogLikelihood
    >>> def evaluate(x):
    ...     return LogLikelihood(-0.5 * x @ x, -x, torch.eye(2).double())
    >>> zero, one = torch.zeros(2).double(), torch.eye(2).double()
    >>> low, high = profile_interval(evaluate, zero, one, one[0], 0.95)
    >>> round(low, 6), round(high, 6)
    (-1.959964, 1.959964)

    References: Venzon, D. J. and Moolgavkar, S. H. (1988) "A method for computing
    profile-likelihood-based confidence intervals", Applied Statistics 37.

    :param evaluate: the log-likelihood and its derivatives at a point of shape ``(p,)``.
    :param Tensor best: where it is highest.
    :param Tensor covariance: of the estimates, for the first guess of the ends.
    :param Tensor contrast: the coefficients of the contrast, ``(p,)``.
    :param float level: the level, between 0 and 1.
    :param bool gauge: whether a constant added to the whole point changes nothing.
    """
    from scipy.optimize import brentq  # scipy takes as long to import as Pyro
    from scipy.special import chdtri  # scipy takes long to import, and scipy.stats most

    profile = _Profile(evaluate, best, contrast, gauge)
    centre, top = float(contrast @ best), evaluate(best).value.item()
    deviation = float(contrast @ covariance @ contrast) ** 0.5
    bound = float(chdtri(1, 1 - level))

    def excess(value: float) -> float:
        return 2 * (top - profile(value)) - bound

    ends = []
    for side in (-1, 1):
        inside, step = centre, side * deviation * bound**0.5
        for _ in range(_MAX_DOUBLINGS):
            if excess(inside + step) > 0:
                break
            inside, step = inside + step, 2 * step
        else:
            raise RuntimeError("The profile likelihood does not fall; the contrast has no bound.")
        ends.append(float(brentq(excess, inside, inside + step, xtol=1e-10, rtol=1e-12)))
    return ends[0], ends[1]


class _Profile:
    """The highest log-likelihood for a value of the contrast."""

    def __init__(
        self,
        evaluate: Callable[[Tensor], LogLikelihood],
        best: Tensor,
        contrast: Tensor,
        gauge: bool,
    ) -> None:
        self._evaluate = evaluate
        self._along = contrast / contrast.square().sum()
        # The point may move at right angles to the contrast, and to a constant that has no effect.
        fixed = [contrast, torch.ones_like(contrast)] if gauge else [contrast]
        complete = torch.linalg.qr(torch.stack(fixed, -1), mode="complete").Q
        self._free = complete[:, len(fixed) :]
        self._z = self._free.mT @ best

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
        known = self._evaluate(self._along * value + self._free @ z)
        return (
            known.value,
            known.gradient @ self._free,
            self._free.mT @ known.information @ self._free,
        )
