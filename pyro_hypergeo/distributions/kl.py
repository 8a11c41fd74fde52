# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.kl import register_kl

from .fisher import FisherHypergeometric


@register_kl(FisherHypergeometric, FisherHypergeometric)  # type: ignore[untyped-decorator]
def _kl_fisher_fisher(p: FisherHypergeometric, q: FisherHypergeometric) -> Tensor:
    # As for any exponential family: (theta_p - theta_q) . mean_p - A_p + A_q.
    if p.event_shape != q.event_shape:
        raise ValueError(
            "The Kullback-Leibler divergence needs equal `group_sizes`, but got "
            f"{p.event_shape[0]} and {q.event_shape[0]} groups."
        )
    for name in ("group_sizes", "total_count"):
        of_p, of_q = getattr(p, name), getattr(q, name)
        if not (of_p == of_q).all():
            raise ValueError(
                f"The Kullback-Leibler divergence needs equal `{name}`, since otherwise the "
                f"supports differ, but got {of_p.tolist()} and {of_q.tolist()}."
            )
    known_p, known_q = p._known, q._known
    mean = known_p.mean
    # A group that is never drawn adds nothing; one that only q cannot draw makes the divergence
    # infinite.
    drawn = mean > 0
    gap = torch.where(drawn, p._theta - q._theta, 0.0)
    result = (gap * mean).sum(-1) - known_p.log_partition + known_q.log_partition
    return p._out(torch.where(known_q.urn.feasible, result, torch.inf))
