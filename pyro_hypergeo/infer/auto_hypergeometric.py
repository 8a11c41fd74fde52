# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""An automatic guide for models with latent counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide, AutoNormal, init_to_feasible
from pyro.infer.autoguide.utils import deep_setattr
from pyro.nn.module import PyroModule, PyroParam
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ..distributions import FisherHypergeometricStraightThrough, zero_sum
from .guide_counts import CountsMessenger, repeat_to_full_size, urn_of


class AutoHypergeometric(AutoGuide):
    r"""
    A guide for models with latent hypergeometric counts, and any continuous latent variables.

    A latent site of counts is a :class:`~pyro_hypergeo.FisherHypergeometric`, a
    :class:`~pyro_hypergeo.WalleniusHypergeometric`, or another
    :class:`~pyro_hypergeo.distributions.UrnLaw`. For each such site the posterior is

    .. math::

        q(x) \propto \prod_{i=1}^G \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad \sum_i x_i = n,
        \quad \sum_i \theta_i = 0,

    a :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`. Its total :math:`n` and its sizes
    :math:`m` are those of the model in the same call. Its log-weights :math:`\theta` are learned:
    one vector for each plate element. Gradients reach them through the draws. All other continuous
    latent sites get another autoguide. Other discrete sites must be enumerated in the model.

    It works with ``Trace_ELBO``, ``TraceMeanField_ELBO`` (with a closed-form KL if the model has
    Fisher's distribution), ``TraceGraph_ELBO``, ``TraceEnum_ELBO``, their traced versions,
    vectorised particles and ``Predictive``. It can be a part of ``AutoGuideList``. The guide runs
    the model to learn the totals and sizes. So each call costs one more run of the model, and
    :math:`O(G)` a draw.

    Example::

        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyro.infer import SVI, TraceMeanField_ELBO
        >>> from pyro_hypergeo import AutoHypergeometric, FisherHypergeometric
        >>> seen = torch.tensor([2.2, 0.8, 1.1])
        >>> def model():
        ...     urn = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 1.0, 1.0])
        ...     x = pyro.sample("x", urn)
        ...     pyro.sample("seen", dist.Normal(x, 0.5).to_event(1), obs=seen)
        >>> guide = AutoHypergeometric(model)
        >>> svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), TraceMeanField_ELBO())
        >>> loss = svi.step()
        >>> guide.median()["x"].sum()
        tensor(4.)

    :param callable model: a Pyro model.
    :param str estimator: estimator of the gradients through counts, as for
        :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`.
    :param temperature: temperature of the estimator ``"gumbel"``.
    :type temperature: float or torch.Tensor
    :param callable continuous: makes the autoguide of the other continuous sites. It is called with
        a model, ``init_loc_fn`` and ``init_scale``.
    :param callable amortizer: computes the log-weights of the posteriors from the arguments of the
        model. It returns a tensor of shape ``batch_shape + (G,)`` or, if there are several sites, a
        dict of such tensors by site. If it is a ``torch.nn.Module``, its parameters are learned.
        Without it, each plate element has parameters of its own.
    :param init_loc_fn, init_scale, create_plates: as for Pyro's autoguides.
    :raises NotImplementedError: if another latent site is discrete and not enumerated; or if a
        plate draws a subsample that the guide cannot see.
    :raises ValueError: if ``estimator`` or ``temperature`` is not legal, if the model has no latent
        counts or loses a site, or if the amortizer returns another shape or other sites.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        estimator: str = "affine",
        temperature: float | Tensor = 1.0,
        continuous: Callable[..., AutoGuide] = AutoNormal,
        amortizer: Callable[..., Tensor | dict[str, Tensor]] | None = None,
        init_loc_fn: Callable[..., Any] = init_to_feasible,
        init_scale: float = 0.1,
        create_plates: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(model, create_plates=create_plates)
        self._model = _Shared(self._model)
        # Raises now, not at the first call, if these arguments are not legal.
        FisherHypergeometricStraightThrough(
            0, [1], [1.0], estimator=estimator, temperature=temperature
        )
        self._estimator, self._temperature = estimator, temperature
        self._continuous_options = (continuous, init_loc_fn, init_scale)
        self.amortizer = amortizer

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        nodes = dict(self._prototype().iter_stochastic_nodes())
        self._names = [name for name, site in nodes.items() if urn_of(site["fn"]) is not None]
        if not self._names:
            raise ValueError(
                "Expected the model to have a latent FisherHypergeometric or "
                f"WalleniusHypergeometric site, but its latent sites are {sorted(nodes)}."
            )
        enumerated = [
            name
            for name, site in nodes.items()
            if name not in self._names and site["fn"].support.is_discrete
        ]
        for name in enumerated:
            if nodes[name]["infer"].get("enumerate") != "parallel":
                raise NotImplementedError(
                    f'AutoHypergeometric has no posterior for the discrete site "{name}" of type '
                    f"{type(nodes[name]['fn']).__name__}. Enumerate it in the model: infer="
                    '{"enumerate": "parallel"}, and TraceEnum_ELBO.'
                )
        # Run once more: the prototype does not show which plates draw a subsample.
        seen = poutine.block(poutine.trace(self.model).get_trace)(*args, **kwargs)
        self._drawn_plates = {
            name
            for name, site in seen.nodes.items()
            if site["type"] == "sample"
            and site_is_subsample(site)
            and site["fn"].subsample_size not in (None, site["fn"].size)
        }
        self._check_plates()
        if self.amortizer is None:
            self.log_weights = PyroModule()
            for name in self._names:
                urn = urn_of(nodes[name]["fn"])
                start = urn.log_weights.detach()
                start = torch.where(start == -torch.inf, 0.0, start)
                start = repeat_to_full_size(start, nodes[name], event_dim=1)
                start = start - start.mean(-1, keepdim=True)
                deep_setattr(self.log_weights, name, PyroParam(start, zero_sum, 1))
        others = [name for name in nodes if name not in self._names + enumerated]
        self._others = set(others)
        self.continuous: AutoGuide | None = None
        if others:
            make, init_loc_fn, init_scale = self._continuous_options
            part = poutine.block(self.model, hide=self._names + enumerated)
            self.continuous = make(part, init_loc_fn=init_loc_fn, init_scale=init_scale)

    def _prototype(self) -> Any:
        """The trace of the first run of the model."""
        if self.prototype_trace is None:
            raise RuntimeError("The guide has not run yet, so it has no prototype of the model.")
        return self.prototype_trace

    def _check_prototype(self, part_trace: Any) -> None:
        for name, part in part_trace.iter_stochastic_nodes():
            own = self._prototype().nodes[name]
            assert part["fn"].batch_shape == own["fn"].batch_shape
            assert part["fn"].event_shape == own["fn"].event_shape

    def _check_plates(self) -> None:
        if self.master is None or self.master().create_plates is not None:
            return
        for frame in self._prototype_frames.values():
            full_size = frame.full_size or frame.size
            if full_size != frame.size and frame.name not in self._drawn_plates:
                raise NotImplementedError(
                    f'AutoHypergeometric cannot see which elements plate "{frame.name}" draws. '
                    f'Expose it with the site: poutine.block(model, expose=[..., "{frame.name}"]).'
                )

    def _create_plates(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.master is None and self.create_plates is None and self.continuous is None:
            # Fix only the plates that draw a subsample. The sizes of the others may change.
            self.plates = {
                name: pyro.plate(
                    name, frame.full_size or frame.size, dim=frame.dim, subsample_size=frame.size
                )
                for name, frame in sorted(self._prototype_frames.items())
                if name in self._drawn_plates
            }
            return self.plates
        return super()._create_plates(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """
        Draw all latent sites, with the same arguments as the model.

        :return: a dict of the drawn values by site.
        """
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        plates = self._create_plates(*args, **kwargs)
        result = {} if self.continuous is None else self.continuous(*args, **kwargs)
        result = {name: value for name, value in result.items() if name in self._others}
        counts = CountsMessenger(
            result, plates, self._log_weights(*args, **kwargs), self._estimator, self._temperature
        )
        # The model runs for its totals, sizes and plates. Handlers outside see only the counts and
        # the parameters of their posterior.
        with poutine.block(hide_fn=counts.hides), counts:
            self.model(*args, **kwargs)
        missing = [name for name in self._names if name not in counts.drawn]
        if missing:
            raise ValueError(
                f"Expected the model to have the sites {missing}, as in its first run."
            )
        return {**result, **counts.drawn}

    def _log_weights(self, *args: Any, **kwargs: Any) -> dict[str, Callable[[], Tensor]]:
        if self.amortizer is None:
            return {name: self._own_log_weights(name) for name in self._names}
        amortized = self.amortizer(*args, **kwargs)
        if torch.is_tensor(amortized):
            if len(self._names) > 1:
                raise ValueError(
                    f"Expected `amortizer` to return a dict of log-weights for the sites "
                    f"{self._names}, but got one tensor."
                )
            amortized = {self._names[0]: amortized}
        if set(amortized) != set(self._names):
            raise ValueError(
                f"Expected `amortizer` to return log-weights for the sites {self._names}, but got "
                f"those for {sorted(amortized)}."
            )
        return {name: partial(_returned, value) for name, value in amortized.items()}

    def _own_log_weights(self, name: str) -> Callable[[], Tensor]:
        # Read late, inside the plates of the site. There Pyro takes the subsample of the parameter.
        return lambda: attrgetter(name)(self.log_weights)

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a Pyro guide has no model. This guide runs its model, so the copy keeps it.
        model, master = self._model, self.master
        state = {**super().__getstate__(), "_model": model, "master": None}
        self._model, self.master = model, master
        return state

    def posterior(
        self, *args: Any, **kwargs: Any
    ) -> dict[str, FisherHypergeometricStraightThrough]:
        """The posterior of the counts of each site, for these arguments of the model.

        :return: a dict of :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough` by site.
        """
        with torch.no_grad(), poutine.block(), poutine.trace() as tracer:
            self(*args, **kwargs)
        return {name: urn_of(tracer.trace.nodes[name]["fn"]) for name in self._names}

    @torch.no_grad()
    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """
        Medians of the continuous sites, and a most probable count vector of each site of counts.

        :return: a dict of tensors by site.
        """
        result = {name: urn.mode for name, urn in self.posterior(*args, **kwargs).items()}
        if self.continuous is not None:
            result.update(self.continuous.median(*args, **kwargs))
        return result

    @torch.no_grad()
    def quantiles(self, quantiles: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """
        Quantiles of each continuous site, and of each single count.

        :param quantiles: a list of numbers between 0 and 1.
        :return: a dict of tensors by site; the quantiles are along a new first dimension.
        :raises NotImplementedError: if the autoguide of the continuous sites has no quantiles.
        """
        result: dict[str, Any] = {}
        for name, urn in self.posterior(*args, **kwargs).items():
            counts = urn.marginals()
            q = torch.as_tensor(quantiles).reshape((-1,) + (1,) * len(counts.batch_shape))
            result[name] = counts.icdf(q)
        if self.continuous is not None:
            if not hasattr(self.continuous, "quantiles"):
                raise NotImplementedError(
                    f"{type(self.continuous).__name__} has no quantiles for its sites."
                )
            result.update(self.continuous.quantiles(quantiles, *args, **kwargs))
        return result


class _Shared(tuple[Any, ...]):
    """Holds the model: a copy of the guide shares it, and does not copy it."""

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self


def _returned(value: Tensor) -> Tensor:
    return value
