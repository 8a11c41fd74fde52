# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Draws latent counts from their posterior while a guide runs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.ops.tensor_utils import periodic_repeat
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ..distributions import FisherHypergeometricStraightThrough
from ..distributions.urn_law import UrnLaw


def urn_of(fn: Any) -> Any:
    """The :class:`UrnLaw` inside a site's distribution; None if it has none."""
    while not isinstance(fn, UrnLaw):
        fn = getattr(fn, "base_dist", None)
        if fn is None:
            return None
    return fn


def repeat_to_full_size(value: Tensor, site: Any, event_dim: int) -> Tensor:
    """A value of a site, repeated along its subsampled plates until it has the full size."""
    for frame in site["cond_indep_stack"]:
        full_size = frame.full_size or frame.size
        if frame.vectorized and full_size != frame.size:
            value = periodic_repeat(value, full_size, frame.dim - event_dim)
    return value.contiguous()


class CountsMessenger(Messenger):
    """Replaces the model's distribution of latent counts by their posterior, and draws from it.

    Other latent sites get the values that the guide has already drawn. Plates get the subsample of
    the guide.

    :param values: drawn values of the other sites, by site.
    :param plates: the guide's plates, by name.
    :param log_weights: functions that return the posterior's log-weights, by site of counts.
    :param estimator: as for :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`.
    :param temperature: as for :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`.
    """

    def __init__(
        self,
        values: dict[str, Tensor],
        plates: dict[str, Any],
        log_weights: dict[str, Callable[[], Tensor]],
        estimator: str,
        temperature: float | Tensor,
    ) -> None:
        super().__init__()
        self.values = values
        self.plates = plates
        self.log_weights = log_weights
        self.options: dict[str, Any] = {"estimator": estimator, "temperature": temperature}
        self.drawn: dict[str, Tensor] = {}
        self._shows_parameters = False

    def hides(self, msg: Any) -> bool:
        """Whether the guide's trace must not see this site."""
        if msg["type"] == "param":
            return not self._shows_parameters
        return msg["type"] != "sample" or msg["name"] not in self.log_weights

    def _pyro_sample(self, msg: Any) -> None:
        name = msg["name"]
        if site_is_subsample(msg):
            if name in self.plates and not msg["done"]:
                msg["value"], msg["done"] = self.plates[name].indices, True
        elif name in self.log_weights and not msg["is_observed"]:
            msg["fn"] = self._posterior(name, msg["fn"])
            msg["infer"] = {k: v for k, v in msg["infer"].items() if k != "enumerate"}
        elif name in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[name], True

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] in self.log_weights and not msg["is_observed"]:
            self.drawn[msg["name"]] = msg["value"]

    @contextmanager
    def _showing_parameters(self) -> Iterator[None]:
        """Let the guide's trace see parameters in this block."""
        self._shows_parameters = True
        try:
            yield
        finally:
            self._shows_parameters = False

    def _posterior(self, name: str, prior: Any) -> Any:
        urn = urn_of(prior)
        with self._showing_parameters():
            log_weights = self.log_weights[name]()
        shape = urn.batch_shape + urn.event_shape
        try:
            fits = torch.broadcast_shapes(log_weights.shape, shape)[-len(shape) :] == shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f'Expected log-weights of site "{name}" of shape {tuple(shape)}, its batch shape '
                f"and its groups, but got {tuple(log_weights.shape)}."
            )
        log_weights = log_weights - log_weights.mean(-1, keepdim=True)
        # A group with weight 0 in the model gets weight 0 in the posterior.
        log_weights = torch.where(urn.log_weights == -torch.inf, -torch.inf, log_weights)
        posterior: Any = FisherHypergeometricStraightThrough(
            urn.total_count,
            urn.group_sizes,
            log_weights=log_weights,
            validate_args=urn._validate_args,
            **self.options,
        )
        extra = prior.event_dim - posterior.event_dim
        return posterior.to_event(extra) if extra else posterior
