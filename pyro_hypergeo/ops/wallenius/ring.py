# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The time of ring n + 1: a rule for the integral over it, and the tilt at each node."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ..tracing import may_branch
from .clocks import GAUSS, TimeNodes, even_nodes, gauss_nodes
from .quick_ring import quick_nodes
from .rings import RingNodes, around, bracket, log_change, rung_by, safe_tilt
from .snapshots import ends_around

# Halvings of a bracket whose length is in the hundreds, to far below the width of the density.
_CENTRE_STEPS = 50


def ring_nodes(theta: Tensor, sizes: Tensor, total: Tensor, finer: int = 1) -> RingNodes:
    """A rule for the time of ring n + 1; nothing has a gradient.

    :param Tensor theta: log-weights, the largest near 0, (..., G).
    :param Tensor sizes: (..., G).
    :param Tensor total: (...).
    :param int finer: how many times as many steps as seem to be needed. Steps are equal only where
        :func:`~pyro_hypergeo.ops.tracing.may_branch` is true, and not for 0.
    """
    theta = theta.detach()
    with torch.no_grad():
        if finer and may_branch(theta):
            found = quick_nodes(theta, sizes, total, finer)
            if found is not None:
                return found
        centre = _centre(theta, sizes, total)
        lengths = ends_around(centre, partial(_log_guess, theta, sizes, total))
        nodes = _general_nodes(centre, lengths, around(theta, sizes, centre).step)
        times = nodes.peak.unsqueeze(-1) + nodes.offset
        tilt = safe_tilt(rung_by(theta, times).log_odds, sizes, total)
    # A trace forgets `no_grad`.
    return RingNodes(
        times.detach(), nodes.log_length.detach(), tilt.detach(), quick=False, bell=False
    )


def _general_nodes(centre: Tensor, lengths: Tensor, step: Tensor) -> TimeNodes:
    """Equal steps where they are short enough, and Gauss' rule where not; J = 128."""
    even, gauss = even_nodes(centre, lengths, GAUSS - 1), gauss_nodes(centre, lengths)
    fine = (lengths.sum(-1) < (GAUSS - 1) * step).unsqueeze(-1)
    return TimeNodes(
        centre,
        torch.where(fine, even.offset, gauss.offset),
        torch.where(fine, even.log_length, gauss.log_length),
    )


def _log_guess(theta: Tensor, sizes: Tensor, total: Tensor, times: Tensor) -> Tensor:
    """About the log-density of the log-time of ring n + 1, (..., U)."""
    rung = rung_by(theta, times)
    tilt = safe_tilt(rung.log_odds, sizes, total)
    shifted = rung.log_odds + tilt.unsqueeze(-1)
    left = torch.sigmoid(-shifted)
    table = torch.stack([left * torch.sigmoid(shifted), rung.rates * left], -2)
    variance, hazard = (table @ sizes.unsqueeze(-1).unsqueeze(-3)).squeeze(-1).unbind(-1)
    # The saddlepoint approximation of Pr[S = n], which is also right where S is almost certain.
    log_mass = log_change(rung, shifted, sizes, total, tilt)
    return log_mass - 0.5 * torch.log1p((2 * math.pi) * variance) + torch.log(hazard)


def _centre(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """log u at which n + 1/2 elements are expected to have rung, (...)."""
    low, high, wanted, _ = bracket(theta, sizes, total)
    for _ in range(_CENTRE_STEPS):
        middle = 0.5 * (low + high)
        log_y = theta + middle.unsqueeze(-1)
        rung = (sizes * -torch.expm1(-torch.exp(log_y))).sum(-1)
        low = torch.where(rung < wanted, middle, low)
        high = torch.where(rung < wanted, high, middle)
    return 0.5 * (low + high)
