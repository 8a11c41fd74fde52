# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Kullback-Leibler divergences, for ``torch.distributions.kl_divergence``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.kl import register_kl

from ..ops.tracing import nan_unless
from .urn_law import UrnLaw


@register_kl(UrnLaw, UrnLaw)  # type: ignore[untyped-decorator]
def _kl_of_urns(p: UrnLaw, q: UrnLaw) -> Tensor:
    if not p.law.same_family(q.law):
        raise NotImplementedError(
            f"No Kullback-Leibler divergence is implemented between {p.law.title} law and "
            f"{q.law.title} law."
        )
    if p.event_shape != q.event_shape:
        raise ValueError(
            "The Kullback-Leibler divergence needs equal `group_sizes`, but got "
            f"{p.event_shape[0]} and {q.event_shape[0]} groups."
        )
    for name in ("group_sizes", "total_count"):
        of_p, of_q = getattr(p, name), getattr(q, name)
        if not (of_p == of_q).all():
            raise ValueError(
                f"The Kullback-Leibler divergence needs equal `{name}`, because otherwise the "
                f"supports differ, but got {of_p.tolist()} and {of_q.tolist()}."
            )
    divergence = p.law.kl(p.state, q.state, p.theta - q.theta, p.bounds, p.max_enumeration)
    if torch.jit.is_tracing():  # the trace does not repeat the check
        same = (p.group_sizes == q.group_sizes).all() & (p.total_count == q.total_count).all()
        divergence = nan_unless(same, divergence)
    return p.to_dtype(divergence)
