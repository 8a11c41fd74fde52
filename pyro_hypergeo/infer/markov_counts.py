# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Latent counts as a Markov chain of sample sites, so that Pyro can sum them out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pyro
import torch
from pyro.distributions import Categorical
from pyro.ops.indexing import Vindex
from torch import Tensor

from ..distributions.urn_law import UrnLaw
from ..ops.errors import at_index, first_of
from ..ops.law import ExponentialFamily
from ..ops.log_convolution import log_suffixes


def markov_counts(
    name: str,
    urn: UrnLaw,
    *,
    infer: dict[str, Any] | None = None,
    obs: Tensor | None = None,
) -> Iterator[tuple[int, Tensor]]:
    r"""
    Counts as a Markov chain over the groups, for a ``for`` loop in a model.

    The probability of the counts must be a product over the groups, given that they sum to
    :math:`n`. Fisher's distribution is of this form, and so are others whose law is a
    :class:`~pyro_hypergeo.ops.ExponentialFamily`. Wallenius' is not.

    Count vectors of a large urn are too many to enumerate. A chain that goes from group to group
    has few states. Its state :math:`r_i` is the number of elements that remain for the groups after
    group :math:`i`. Under Fisher's distribution

    .. math::

        p(r_i \mid r_{i-1}) \propto \binom{m_i}{x_i} w_i^{x_i} \, [z^{r_i}]
        \prod_{j > i} (1 + w_j z)^{m_j}, \qquad x_i = r_{i-1} - r_i, \quad r_{-1} = n,

    where :math:`[z^r]` takes the coefficient of :math:`z^r`. Each state is a sample site
    ``f"{name}_{i}"``, except the last state, which is 0. The site is a
    :class:`~pyro.distributions.Categorical` over :math:`0, \dots, \max n`, and up to
    :math:`\max n / 4` further values of probability 0. The loop runs in :func:`pyro.markov`. Sites
    in the loop may use the count :math:`x_i` of the current group. Enumeration costs
    :math:`O(G n^2)` time and memory, for any size of the support. Without enumeration the counts
    are exact draws, at a cost of :math:`O(G n)` each.

    Set ``infer={"enumerate": "parallel"}``, or use :func:`~pyro.infer.config_enumerate`. Then
    ``TraceEnum_ELBO`` sums the counts out exactly. :func:`~pyro.infer.infer_discrete` draws from
    their exact posterior, or finds the most probable counts.

    Under plates, ``urn`` may have a batch of different urns. Some enumerated combinations are
    impossible. There the count is clamped to 0, ..., m_i, so that it is a legal parameter of other
    distributions. As in every :func:`pyro.markov`, use a count only in its own turn of the loop:
    enumerated counts of different groups have different shapes. To get all counts, append them to a
    list. Stack the list after a draw or after :func:`~pyro.infer.infer_discrete`.

    **References:**

    [1] Obermeyer, F. et al. (2019) "Tensor variable elimination for plated factor graphs",
        International Conference on Machine Learning.

    Example::

        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyro.infer import TraceEnum_ELBO
        >>> from pyro_hypergeo import FisherHypergeometric, markov_counts
        >>> seen = [1.2, 0.9, 2.1]
        >>> def model():
        ...     urn = FisherHypergeometric(4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0])
        ...     for i, x_i in markov_counts("x", urn, infer={"enumerate": "parallel"}):
        ...         pyro.sample(f"y_{i}", dist.Normal(x_i, 1.0), obs=torch.tensor(seen[i]))
        >>> TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None)
        3.5913

    :param str name: prefix of the names of the sites.
    :param UrnLaw urn: the distribution of the counts: a
        :class:`~pyro_hypergeo.FisherHypergeometric`, or another distribution whose law is a
        :class:`~pyro_hypergeo.ops.ExponentialFamily`.
    :param dict infer: passed on to each site.
    :param torch.Tensor obs: counts to condition on, of shape ``batch_shape + (G,)``. The
        log-probabilities of the sites then sum to ``urn.log_prob(obs)``.
    :return: an iterator over pairs: the index of a group, and its count in the dtype of the
        weights.
    :raises ValueError: if ``urn`` is not such a distribution; or if ``obs`` has another shape or,
        with validation, is not in the support.
    """
    # This is not a generator itself: a generator would raise the errors only in the loop.
    if not (isinstance(urn, UrnLaw) and isinstance(urn.law, ExponentialFamily)):
        raise ValueError(
            "Expected `urn` to be a FisherHypergeometric, or another distribution whose "
            f"probability is a product over the groups, but got {type(urn).__name__}: {urn}."
        )
    if obs is not None:
        _check_observed(urn, obs)
    return _chain(name, urn, infer, obs)


def _chain(name: str, urn: UrnLaw, infer: Any, obs: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    groups = urn.event_shape[0]
    transitions = _Transitions(urn)
    remaining = transitions.total
    for i in pyro.markov(range(groups)):
        before = remaining
        if i == groups - 1:
            remaining = torch.zeros_like(before)
        else:
            observed = None if obs is None else transitions.remaining_after(obs, i)
            state = Categorical(
                logits=transitions.logits(i, before), validate_args=urn._validate_args
            )
            remaining = pyro.sample(f"{name}_{i}", state, obs=observed, infer=infer).long()
        yield i, transitions.count(i, before - remaining)


class _Transitions:
    """The chain's tables: how many elements remain after a group, given how many before it."""

    def __init__(self, urn: UrnLaw) -> None:
        self.largest_total = urn.bounds.total
        states = urn.event_shape[0] - 1
        # Pyro lets opt_einsum choose the order of the sums. It may choose matrix times matrix,
        # O(n^3). It chooses vector times matrix, O(n^2), if each state has fewer values than the
        # state before. So we add a few values of probability 0 to the early states.
        extra = states if 4 * states <= self.largest_total else 0
        self.widths = [self.largest_total + 1 + max(0, extra - i) for i in range(states)]
        law = cast(ExponentialFamily, urn.law)
        most = min(urn.bounds.size, self.largest_total)
        log_terms = urn.bounds.guard(law.log_terms(urn.state, most))
        suffixes = log_suffixes(log_terms, self.largest_total + extra)
        # The last entry is for counts that are impossible.
        terms = torch.nn.functional.pad(log_terms.detach(), (0, 1), value=-torch.inf)
        self.log_terms = terms.unbind(-2)
        self.log_suffixes = suffixes.unbind(-2)
        self.possible = (suffixes.detach() != -torch.inf).unbind(-2)
        self.log_weights = urn.state.urn.log_weights.unbind(-1)
        self.sizes = urn.group_sizes.long().unbind(-1)
        self.total = urn.total_count.long()
        self.dtype = urn.parameter.dtype

    def logits(self, group: int, before: Tensor) -> Tensor:
        """Logits of what remains after a group, of shape ``before.shape + (values,)``.

        Enumeration may have added dimensions on the left of ``before``.
        """
        width = self.widths[group]
        terms, after = self.log_terms[group], self.log_suffixes[group + 1][..., :width]
        theta = self.log_weights[group]
        remaining = torch.arange(width, device=before.device)
        drawn = before.unsqueeze(-1) - remaining
        none = terms.shape[-1] - 1
        index = torch.where((drawn < 0) | (drawn > none), none, drawn)
        shape = torch.broadcast_shapes(terms.shape[:-1], before.shape)
        log_terms = terms.expand(*shape, -1).gather(-1, index.expand(*shape, -1))
        # The gradient of the terms in the log-weight is the count, up to a constant in each row. We
        # add it as a product, so the backward pass does not scatter into the table of terms.
        slope = (theta - theta.detach()).unsqueeze(-1) * drawn
        logits = log_terms + slope + after
        # No chain reaches an impossible row: its probability is 0 already. So any finite logits do.
        possible = Vindex(self.possible[group])[..., before].unsqueeze(-1)
        return torch.where(possible, logits, 0.0).to(self.dtype)

    def count(self, group: int, drawn: Tensor) -> Tensor:
        """Counts in the dtype of the weights, clamped to 0, ..., m_i."""
        return torch.minimum(drawn.clamp(min=0), self.sizes[group]).to(self.dtype)

    def remaining_after(self, counts: Tensor, group: int) -> Tensor:
        """How many elements remain after a group if these are the counts."""
        drawn = counts[..., : group + 1].sum(-1).long()
        return (self.total - drawn).clamp(0, self.largest_total)


def _check_observed(urn: UrnLaw, obs: Tensor) -> None:
    wanted = urn.batch_shape + urn.event_shape
    expected = f"Expected `obs` of shape {tuple(wanted)}"
    try:
        broadcasts = torch.broadcast_shapes(obs.shape, wanted)[-1:] == obs.shape[-1:]
    except RuntimeError:
        broadcasts = False
    if not broadcasts:
        raise ValueError(f"{expected}, the batch shape and the groups, but got {tuple(obs.shape)}.")
    if urn._validate_args:
        legal = urn.support.check(obs)
        if not legal.all():
            first = first_of(~legal)
            found = obs.expand(*legal.shape, -1)[first].tolist()
            where = at_index(first, "batch index")
            raise ValueError(
                f"{expected} to be counts within the `group_sizes` that sum to the `total_count`, "
                f"but found {found}{where}."
            )
