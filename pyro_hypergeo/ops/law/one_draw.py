# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Strata from which one element is drawn: under all laws that draw elements, a softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from .likelihood import DesignTerms


def one_draw_terms(
    theta: Tensor, group_sizes: Tensor, counts: Tensor, design: Tensor
) -> DesignTerms:
    r"""The log-likelihood of strata from which one element is drawn, and its derivatives.

    .. math:: p_i = \frac{m_i e^{\theta_i}}{\sum_j m_j e^{\theta_j}}

    It has no gradient. Cost: O(S G p^2).

    :param Tensor theta: log-weights, shape ``(S, G)``.
    :param Tensor group_sizes: shape ``(S, G)``.
    :param Tensor counts: shape ``(S, G)``; each row sums to 1.
    :param Tensor design: shape ``(S, G, p)``.
    """
    with torch.no_grad():
        log_odds = theta + torch.log(group_sizes)
        p = torch.softmax(log_odds, -1)
        values = (counts * theta).sum(-1) + torch.where(
            counts > 0, torch.log(group_sizes), 0.0
        ).sum(-1)
        values = values - torch.logsumexp(log_odds, -1)
        mean = (p.unsqueeze(-1) * design).sum(-2)
        scores = (counts.unsqueeze(-1) * design).sum(-2) - mean
        flat = design.flatten(0, 1)
        information = (flat * p.reshape(-1, 1)).mT @ flat - mean.mT @ mean
        return DesignTerms(values, scores, information)
