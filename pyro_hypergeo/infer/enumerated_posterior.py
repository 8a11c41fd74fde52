# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The exact posterior of latent counts that Pyro enumerates in a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.infer import TraceEnum_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Size, Tensor

from .guide_counts import urn_of


class CountsPosterior(NamedTuple):
    """The posterior of one site of counts: a list of all count vectors, with log-probabilities.

    :func:`enumerated_posterior` makes it.

    :ivar torch.Tensor counts: all S count vectors, of shape ``(S, G)``.
    :ivar torch.Tensor log_probs: their posterior log-probabilities, of shape ``plates + (S,)``.

    >>> import torch
    >>> from pyro_hypergeo.infer import CountsPosterior
    >>> posterior = CountsPosterior(
    ...     counts=torch.tensor([[0.0, 2.0], [1.0, 1.0]]), log_probs=torch.tensor([0.2, 0.8]).log()
    ... )
    >>> posterior.mean
    tensor([0.8000, 1.2000])
    """

    counts: Tensor
    log_probs: Tensor

    @property
    def probs(self) -> Tensor:
        """The posterior probabilities, of shape ``plates + (S,)``."""
        return self.log_probs.exp()

    @property
    def mean(self) -> Tensor:
        """The posterior mean counts, of shape ``plates + (G,)``."""
        return self.probs @ self.counts

    @property
    def most_probable(self) -> Tensor:
        """The most probable counts, of shape ``plates + (G,)``."""
        return self.counts[self.log_probs.argmax(-1)]

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws from the posterior, of shape ``sample_shape + plates + (G,)``."""
        index = torch.distributions.Categorical(logits=self.log_probs).sample(Size(sample_shape))
        return self.counts[index]


def enumerated_posterior(
    model: Callable[..., Any],
    *args: Any,
    guide: Callable[..., Any] | None = None,
    max_plate_nesting: int | None = None,
    **kwargs: Any,
) -> dict[str, CountsPosterior]:
    r"""
    The exact posterior of each site of latent counts that is enumerated in a model.

    Pyro's ``TraceEnum_ELBO`` sums latent counts out, but its ``compute_marginals`` and
    ``sample_posterior`` know only single numbers, not vectors. This function gives, for each site,

    .. math::

        p(x \mid y) \propto p(x) \sum_z p(z \mid x) \, p(y \mid x, z) ,

    where :math:`y` is all that is observed, and :math:`z` are the other enumerated sites. It works
    for every law, and within plates. There each element has its own posterior. Cost: that of one
    loss of ``TraceEnum_ELBO``.

    All other latent sites need a value. ``guide`` draws them; or fix them by
    ``pyro.condition(model, data={...})``, for example to one draw of NUTS. For supports that are
    too large to list, use :func:`~pyro_hypergeo.markov_counts` and
    :func:`~pyro.infer.infer_discrete`.

    Example::

        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyro.infer import config_enumerate
        >>> from pyro_hypergeo import FisherHypergeometric, enumerated_posterior
        >>> @config_enumerate
        ... def model():
        ...     x = pyro.sample("x", FisherHypergeometric(2, [3, 1], weights=[1.0, 2.0]))
        ...     pyro.sample("y", dist.Normal(x[..., 0], 0.5), obs=torch.tensor(1.8))
        >>> posterior = enumerated_posterior(model)["x"]
        >>> posterior.counts, posterior.probs
        (tensor([[1., 1.],
                [2., 0.]]), tensor([0.3759, 0.6241]))

    :param callable model: a Pyro model with sites of counts that have
        ``infer={"enumerate": "parallel"}``, as :func:`~pyro.infer.config_enumerate` sets it.
    :param args: arguments of the model and of the guide.
    :param callable guide: draws all latent sites that are not enumerated.
    :param int max_plate_nesting: as for ``TraceEnum_ELBO``; if it is not given, one more run of
        model and guide finds it.
    :param kwargs: named arguments of the model and of the guide.
    :return: a dict of :class:`~pyro_hypergeo.infer.CountsPosterior` by site.
    :raises ValueError: if no site of counts is enumerated; or if another latent site is neither
        enumerated nor drawn by the guide.
    """
    listing = _Listing()
    traced: Any = poutine.trace(guide or _nothing)
    if max_plate_nesting is None:
        max_plate_nesting = _nesting(model, guide or _nothing, args, kwargs)
    elbo = TraceEnum_ELBO(max_plate_nesting=max_plate_nesting, strict_enumeration_warning=False)
    with torch.no_grad(), warnings.catch_warnings():
        # Pyro only warns of this, and then draws from the prior. Below it is an error.
        warnings.filterwarnings("ignore", "Found vars in model but not guide")
        found = elbo.compute_marginals(listing(model), traced, *args, **kwargs)
    missing = sorted(listing.others - set(traced.trace.nodes))
    if missing:
        raise ValueError(
            f"Expected `guide` to draw all latent sites that are not enumerated, but it does not "
            f"draw {missing}. Fix their values, or draw them: enumerated_posterior("
            "pyro.condition(model, data={...})), or guide=..."
        )
    if not listing.sites:
        raise ValueError(
            "Expected `model` to have a latent site of counts that is enumerated, but it has none. "
            'Set infer={"enumerate": "parallel"}, or use pyro.infer.config_enumerate.'
        )
    result = {}
    for name, (counts, plates) in listing.sites.items():
        logits = found[name].logits if name in found else counts.new_zeros(1)
        logits = logits.expand(plates + counts.shape[:1])
        result[name] = CountsPosterior(counts, torch.log_softmax(logits, -1))
    return result


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass


class _Listing(Messenger):
    """Makes each enumerated site of counts one that ``compute_marginals`` accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[str, tuple[Tensor, Size]] = {}  # counts (S, G), and shape of the plates
        self.others: set[str] = set()

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        plates = _plates(msg)
        # Pyro's `compute_marginals` fails in plates of size 1, which change nothing.
        msg["cond_indep_stack"] = tuple(
            f for f in msg["cond_indep_stack"] if f.size != 1 or not f.vectorized
        )
        if msg["is_observed"]:
            return
        urn, enumerated = urn_of(msg["fn"]), msg["infer"].get("enumerate") == "parallel"
        if not (enumerated and msg["fn"].has_enumerate_support):
            self.others.add(msg["name"])
        elif urn is not None:
            counts = urn.enumerate_support(expand=False).reshape(-1, *urn.event_shape)
            self.sites[msg["name"]] = counts, plates
            if len(counts) > 1:
                msg["fn"] = _Listed(msg["fn"])
            else:  # Pyro has no posterior of a single value. It needs none.
                msg["infer"] = {**msg["infer"], "enumerate": None}


def _nesting(model: Any, guide: Any, args: Any, kwargs: Any) -> int:
    """How deep plates are nested, from one run of guide and model."""
    with torch.no_grad(), poutine.block():
        drawn = poutine.trace(guide).get_trace(*args, **kwargs)
        trace = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args, **kwargs)
    sites = [site for t in (drawn, trace) for site in t.nodes.values() if site["type"] == "sample"]
    frames = [frame for site in sites for frame in site["cond_indep_stack"] if frame.vectorized]
    return max((-frame.dim for frame in frames), default=0)


def _plates(msg: Any) -> Size:
    """The shape of the plates around a site."""
    frames = {-frame.dim: frame.size for frame in msg["cond_indep_stack"] if frame.vectorized}
    return Size(frames.get(dim, 1) for dim in range(max(frames, default=0), 0, -1))


class _Listed(TorchDistribution):
    """The distribution of a site; or, as Pyro makes it, the logits of its listed values."""

    arg_constraints: dict[str, Any] = {}
    has_enumerate_support = True

    def __init__(self, fn: Any = None, *, logits: Any = None) -> None:
        self.fn, self.logits = fn, logits
        if fn is not None:
            super().__init__(fn.batch_shape, fn.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.fn.support

    def sample(self, sample_shape: Any = Size()) -> Any:  # noqa: B008
        return self.fn.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Any:
        return self.fn.log_prob(value)

    def enumerate_support(self, expand: bool = True) -> Any:
        return self.fn.enumerate_support(expand)
