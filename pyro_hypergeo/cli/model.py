# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The model of a table of counts: prior, urns, and the Laplace approximation of the posterior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..distributions.laws import LAWS
from ..distributions.urn_law import UrnLaw
from ..infer.maximum import log_likelihood
from ..ops.law import LogLikelihood
from ..ops.zero_sum import zero_sum_vector
from .table import Table

_MAX_NEWTON_STEPS = 100


def urns_of(table: Table, log_weights: Tensor, law: str) -> UrnLaw:
    """One urn for each stratum; the totals are those of the table."""
    total = table.counts.sum(-1)
    return LAWS[law](total, table.sizes, log_weights=log_weights, validate_args=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this block."""
    # The tensors are small, so threads save little. If other programs run, threads wait for each
    # other: then everything takes ten times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def log_prior(z: Tensor, scale: float) -> Tensor:
    """Log-density of the prior at coordinates (..., G - 1) of the log-weights."""
    return -0.5 * (z / scale).square().sum(-1) - z.shape[-1] * math.log(
        scale * math.sqrt(2 * math.pi)
    )


def in_coordinates(known: LogLikelihood) -> tuple[Tensor, Tensor]:
    """Gradient and information of a log-likelihood in the coordinates of the log-weights."""
    # Row i is the vector whose coordinate i is 1 and whose other coordinates are 0.
    basis = zero_sum_vector(torch.eye(len(known.gradient) - 1, dtype=known.gradient.dtype))
    return basis @ known.gradient, basis @ known.information @ basis.mT


def laplace(table: Table, prior_scale: float, law: str = "fisher") -> tuple[Tensor, Tensor]:
    """Mode of the posterior, and Cholesky factor of the covariance of its Laplace approximation.

    Both are in the coordinates of :func:`~pyro_hypergeo.ops.zero_sum_vector`.
    """

    # The log-density is strictly concave. So there is one mode, and damped Newton steps reach it.
    def log_density(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        known = log_likelihood(LAWS[law].law, zero_sum_vector(z), table.sizes, table.counts)
        gradient, information = in_coordinates(known)
        prior = torch.eye(len(z), dtype=z.dtype) / prior_scale**2
        return (
            known.value + log_prior(z, prior_scale),
            gradient - z / prior_scale**2,
            torch.linalg.cholesky(information + prior),
        )

    z = table.sizes.new_zeros(len(table.groups) - 1)
    value, gradient, root = log_density(z)
    for _ in range(_MAX_NEWTON_STEPS):
        step = torch.cholesky_solve(gradient.unsqueeze(-1), root).squeeze(-1)
        if gradient @ step < 1e-12:
            break
        length = 1.0
        while length > 1e-6:
            new_value, new_gradient, new_root = log_density(z + length * step)
            if new_value >= value:
                break
            length /= 2
        else:
            break
        z, value, gradient, root = z + length * step, new_value, new_gradient, new_root
    return z, torch.linalg.cholesky(torch.cholesky_inverse(root))
