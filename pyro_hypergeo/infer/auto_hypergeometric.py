# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A guide for models with latent counts."""

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
from .guide_counts import CountsMessenger, counts_of, repeat_to_full_size


class AutoHypergeometric(AutoGuide):
    r"""
    A guide for models with latent hypergeometric counts, and any continuous latent variables.

    Each latent site of counts, :class:`~pyro_hypergeo.FisherHypergeometric`,
    :class:`~pyro_hypergeo.WalleniusHypergeometric` or of another law, has a
    :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough` posterior with the total and the
    group sizes of the model, whatever they are at each call, and with learnable log-weights that
    sum to zero, one vector for each plate element. Gradients reach them through the draws. All
    other continuous latent sites are left to another autoguide. Discrete ones have to be
    enumerated in the model.

    It works with ``Trace_ELBO``, ``TraceMeanField_ELBO`` (with a closed-form KL to Fisher's law),
    ``TraceGraph_ELBO``, ``TraceEnum_ELBO``, their traced versions, vectorised particles and
    ``Predictive``, and as a part of ``AutoGuideList``. As it learns the totals and sizes by running
    the model, each call costs one more run of it, and :math:`O(G)` a draw.

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
    :param str estimator: of the gradients through counts, and
    :param temperature: its temperature: as for
        :class:`~pyro_hypergeo.FisherHypergeometricStraightThrough`.
    :param callable continuous: makes the autoguide of the other sites from a model; called with
        ``init_loc_fn`` and ``init_scale`` as well.
    :param callable amortizer: maps the model's arguments to the log-weights of the site's
        posterior, of shape ``batch_shape + (G,)``, or to a dict of them by site; a
        ``torch.nn.Module`` is learned along. Without it each plate element has parameters.
    :param callable init_loc_fn: as for Pyro's autoguides.
    :param float init_scale: as for Pyro's autoguides.
    :param callable create_plates: as for Pyro's autoguides.
    :raises NotImplementedError: if a latent site is discrete, of another law, and not enumerated.
    :raises ValueError: if the model has no latent hypergeometric counts, or the amortizer returns
        another shape.
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
        # Says early whether they are legal.
        FisherHypergeometricStraightThrough(
            0, [1], [1.0], estimator=estimator, temperature=temperature
        )
        self._estimator, self._temperature = estimator, temperature
        self._continuous_options = (continuous, init_loc_fn, init_scale)
        self.amortizer = amortizer

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        assert self.prototype_trace is not None
        nodes = dict(self.prototype_trace.iter_stochastic_nodes())
        self._names = [name for name, site in nodes.items() if counts_of(site["fn"]) is not None]
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
        # Run once more to see what the prototype hides: plates that draw a subsample.
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
                urn = counts_of(nodes[name]["fn"])
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

    def _check_prototype(self, part_trace: Any) -> None:
        assert self.prototype_trace is not None
        for name, part in part_trace.iter_stochastic_nodes():
            own = self.prototype_trace.nodes[name]
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
            # Only those that draw a subsample, so that the sizes of others may change.
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
        An automatic guide with the same ``*args, **kwargs`` as the base ``model``.

        :return: A dict mapping sample site name to sampled value.
        """
        if self.prototype_trace is None:
            self._setup_prototype(*args, **kwargs)
        plates = self._create_plates(*args, **kwargs)
        result = {} if self.continuous is None else self.continuous(*args, **kwargs)
        result = {name: value for name, value in result.items() if name in self._others}
        counts = CountsMessenger(
            result, plates, self._log_weights(*args, **kwargs), self._estimator, self._temperature
        )
        # The model runs for its totals, sizes and plates; only the counts and the parameters of
        # their posterior are let out.
        with poutine.block(hide_fn=counts.hides), counts:
            self.model(*args, **kwargs)
        missing = [name for name in self._names if name not in counts.drawn]
        if missing:
            raise ValueError(f"Expected the model to have the sites {missing}, as at first.")
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
        return {name: partial(_same, value) for name, value in amortized.items()}

    def _own_log_weights(self, name: str) -> Callable[[], Tensor]:
        # Read inside of the site's plates, which take their subsample of it.
        return lambda: attrgetter(name)(self.log_weights)

    def __getstate__(self) -> dict[str, Any]:
        # Pyro's guides lose their model when they are copied, which this one runs.
        model, master = self._model, self.master
        state = {**super().__getstate__(), "_model": model, "master": None}
        self._model, self.master = model, master
        return state

    def posterior(
        self, *args: Any, **kwargs: Any
    ) -> dict[str, FisherHypergeometricStraightThrough]:
        """The posterior laws of the counts for the model's arguments, by site."""
        with torch.no_grad(), poutine.block(), poutine.trace() as tracer:
            self(*args, **kwargs)
        return {name: counts_of(tracer.trace.nodes[name]["fn"]) for name in self._names}

    @torch.no_grad()
    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """
        Medians of the continuous sites, and a most probable vector of each site's counts.

        :return: A dict mapping sample site name to tensor.
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
        :return: A dict mapping sample site name to the quantiles along a new first dimension.
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
    """Holds the model, of which a copied guide makes no copy."""

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self


def _same(value: Tensor) -> Tensor:
    return value
