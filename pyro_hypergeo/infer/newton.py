# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Newton's method for concave log-likelihoods, with steps that are halved if they go too far."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..ops.law import LogLikelihood

_MAX_STEPS, _MAX_HALVINGS, _LONGEST_STEP = 100, 30, 5.0
# Newton's decrement g' H^-1 g is the square of the distance to the maximum in standard errors. The
# step that follows so small a distance leaves no more than its square.
_CONVERGED = 1e-15
# The rounding of a log-likelihood, relative to its size.
_ROUNDING = 1e-11


class Maximum(NamedTuple):
    """Where a log-likelihood is highest, its value and derivatives there, and the steps taken."""

    point: Tensor  # (p,)
    likelihood: LogLikelihood
    iterations: int


def newton(
    evaluate: Callable[[Tensor], LogLikelihood],
    start: Tensor,
    solve: Callable[[Tensor, Tensor], Tensor] = torch.linalg.solve,
    at_start: LogLikelihood | None = None,
) -> Maximum:
    """The maximum of a concave function whose maximum exists.

    >>> import torch
    >>> from pyro_hypergeo.infer.newton import newton
    >>> from pyro_hypergeo.ops.law import LogLikelihood
    >>> def evaluate(x):
    ...     return LogLikelihood(x.sum() - x.exp().sum(), 1 - x.exp(), torch.diag(x.exp()))
    >>> newton(evaluate, torch.ones(2)).point.abs() < 1e-6
    tensor([True, True])

    :param evaluate: the function with its derivatives, at a point of shape ``(p,)``.
    :param Tensor start: the first point.
    :param solve: solves ``information @ step = gradient``; another one fixes a gauge.
    :param at_start: what ``evaluate`` gives at the start, if it is known.
    :raises RuntimeError: if there is no convergence in 100 steps.
    """
    point, now = start, evaluate(start) if at_start is None else at_start
    for iteration in range(1, _MAX_STEPS + 1):
        step = solve(now.information, now.gradient)
        decrement = now.gradient @ step
        step = step * (_LONGEST_STEP / step.abs().max().clamp(min=1e-300)).clamp(max=1)
        if decrement <= _CONVERGED:
            return Maximum(point + step, evaluate(point + step), iteration)
        slack = _ROUNDING * now.value.abs().clamp(min=1)
        for _ in range(_MAX_HALVINGS):
            new = evaluate(point + step)
            if new.value >= now.value - slack:
                break
            step = step / 2
        point, now = point + step, new
    raise RuntimeError(f"Newton's method has not converged in {_MAX_STEPS} steps.")
