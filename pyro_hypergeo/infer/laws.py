# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..distributions import FisherHypergeometric, WalleniusHypergeometric

LAWS: dict[str, Any] = {"fisher": FisherHypergeometric, "wallenius": WalleniusHypergeometric}


def check_law(law: str) -> None:
    """Raises ValueError if there is no such law."""
    if law not in LAWS:
        raise ValueError(f"Expected `law` to be one of {sorted(LAWS)}, but got {law!r}.")


def urns_of(law: str, log_weights: Tensor, group_sizes: Tensor, counts: Tensor) -> Any:
    """Urns of that law, one for each stratum, from which as many are drawn as were."""
    return LAWS[law](counts.sum(-1), group_sizes, log_weights=log_weights, validate_args=False)


class LogLikelihood(NamedTuple):
    """The log-likelihood of log-weights over all strata, and its derivatives."""

    value: Tensor
    gradient: Tensor  # (G,)
    information: Tensor  # (G, G), its second derivative with the sign changed


def log_likelihood(law: str, theta: Tensor, group_sizes: Tensor, counts: Tensor) -> LogLikelihood:
    r"""Log-likelihood of log-weights, which is concave in them under either law.

    Fisher's is an exponential family. For Wallenius', substitute :math:`s = \log u + \log D` in the
    integral. Its integrand is then

    .. math::

        e^{s - e^s} \prod_i \bigl(1 - \exp(-e^{s + \theta_i - \log D})\bigr)^{x_i} ,

    and :math:`\theta_i - \log D` is concave in :math:`\theta`, :math:`\log(1 - \exp(-e^y))`
    concave and increasing in :math:`y`. So it is log-concave in :math:`s` and :math:`\theta`
    together, and hence its integral over :math:`s` in :math:`\theta` (Prekopa's theorem).
    """
    if law == "fisher":
        urns = urns_of(law, theta, group_sizes, counts)
        return LogLikelihood(
            urns.log_prob(counts).sum(),
            (counts - urns.mean).sum(0),
            urns.covariance_matrix.sum(0),
        )
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        value = urns_of(law, theta, group_sizes, counts).log_prob(counts).sum()
        (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
        rows = [torch.autograd.grad(g, theta, retain_graph=True)[0] for g in gradient]
    return LogLikelihood(value.detach(), gradient.detach(), -torch.stack(rows))
