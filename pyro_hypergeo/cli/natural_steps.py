# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Natural-gradient steps to the normal law that is closest to a posterior."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from .streams import is_terminal

_MIN_SAMPLES, _MAX_SAMPLES = 8, 512
# A step moves medians and standard deviations by less than this share of a standard deviation.
_SETTLED = 2e-3
# The share of the new precision. With all of it, steps overshoot on skewed posteriors.
_SHARE = 0.8
# The bound may fall by so much, since it comes from samples.
_SLACK = 1e-3


class NormalLaw(NamedTuple):
    """A normal law of D coordinates, and means of a log-density under it."""

    location: Tensor  # (D,)
    factor: Tensor  # (D, D), a root of the covariance
    elbo: float
    gradient: Tensor  # (D,): the mean gradient of the log-density
    precision: Tensor  # (D, D): minus its mean second derivative


class Bound(Protocol):
    """The lower bound of the log-evidence as a function of the normal law, with fixed noise."""

    def at(self, location: Tensor, factor: Tensor) -> NormalLaw:
        """The bound at a normal law."""
        ...


def settle(
    bound: Bound, now: NormalLaw, max_steps: int, moved: Callable[[NormalLaw, NormalLaw], float]
) -> tuple[NormalLaw, int, bool]:
    """Take steps until one moves little: the law, the number of steps, and whether it settled.

    At the closest normal law, the gradient of the log-density has the mean 0, and minus the second
    derivative has the mean of the inverse covariance. Each step solves these two equations to first
    order.

    :param moved: how far a step moves what is reported, in standard deviations.
    """
    hidden = not is_terminal(sys.stderr)
    with tqdm(total=max_steps, desc="SVI", unit="step", disable=hidden) as bar:
        for step in range(1, max_steps + 1):
            new = _step(bound, now)
            far = moved(now, new)
            now = new
            bar.update()
            if far < _SETTLED:
                return now, step, True
    return now, max_steps, False


def how_it_settled(elbo: float, steps: int, settled: bool) -> str:
    """One line that says how the inference went."""
    number = f"{steps} {'step' if steps == 1 else 'steps'}"
    if settled:
        how = f"settled after {number}"
    else:
        how = f"has NOT settled after {number} (give it more by --steps)"
    return f"variational inference: {how}; evidence lower bound {elbo:.3f}"


def entropy(noise: Tensor, factor: Tensor) -> float:
    """The entropy of a normal law, as its samples see it."""
    # Not the mean of the square: then the noise of the joint density and its own cancel.
    surprise = 0.5 * noise.square().sum(-1).mean()
    volume = 0.5 * noise.shape[-1] * math.log(2 * math.pi) + factor.diagonal().log().sum()
    return float(surprise + volume)


def standard_noise(most: int, dimension: int) -> Tensor:
    """Standard normal samples, (K, dimension), float64, in pairs of opposite sign."""
    pairs = max(_MIN_SAMPLES, min(_MAX_SAMPLES, most)) // 2
    half = torch.randn(pairs, dimension, dtype=torch.float64)
    if pairs >= 8 * dimension:
        # Their second moments become exact too.
        root = torch.linalg.cholesky(half.mT @ half / pairs)
        half = torch.linalg.solve_triangular(root, half.mT, upper=False).mT
    return torch.cat([half, -half])


def _step(bound: Bound, now: NormalLaw) -> NormalLaw:
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
