# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Evidence of hidden labels whose counts have Fisher's law."""

from __future__ import annotations

import torch
from torch import Tensor

from ..binomial import log_binomial_coefficient
from ..fisher.moments import log_partition
from ..tracing import largest, may_branch, static_shape
from .assignments import MAX_STATES
from .bags import Bags, bags_of, batch_of
from .label_problem import LabelProblem, chunks_of, label_problem, uncompiled
from .label_tables import log_label_sum

# A group of the urn counts as no larger than so many times the number of elements.
_LARGE = 2
# From here on the factor grows with the number of elements. So for all of them together, what
# is neglected for the shifts stays below a factor exp(60): no table underflows by it.
_MANY = 100


def log_label_evidence(
    log_likelihoods: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    *,
    max_states: int = MAX_STATES,
) -> Tensor:
    r"""Log-evidence of observations of elements whose labels are hidden.

    The counts of the labels have Fisher's law: :math:`N` elements were drawn from an urn. Given the
    counts, all labellings are equally probable. Element :math:`e` is observed with the likelihood
    :math:`L_{ek}` if its label is k:

    .. math::

        \log \sum_n p(n) \, \frac{\prod_k n_k!}{N!}
        \sum_{z : \, n(z) = n} \prod_e L_{e, z_e}

    The gradient in ``log_likelihoods`` is the posterior probability of each label. The gradient in
    the log-weights is the posterior mean of the counts minus the prior mean. It may be
    differentiated once.

    All counts share one table of :math:`S = \prod_k (\min(m_k, N) + 1)` numbers, where the product
    leaves out the largest group. Cost: O(N K S).

    In a Pyro model with learnable weights, the evidence is a factor::

        def model(images):  # (bags, N, pixels)
            log_weights = pyro.param("log_weights", torch.zeros(K))
            log_likelihoods = decoder(images)  # (bags, N, K)
            with pyro.plate("bags", len(images)):
                evidence = log_label_evidence(log_likelihoods, log_weights, sizes, total)
                pyro.factor("labels", evidence)

    :param Tensor log_likelihoods: :math:`\log L`, shape ``(..., N, K)``; ``-inf`` rules a label
        out.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., K)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: sizes :math:`m` of the groups of the urn, shape ``(..., K)``.
    :param Tensor total_count: number of elements drawn, shape ``(...)``. It must be N.
    :param int max_states: the largest S to accept.
    :return: shape ``(...)``, in the dtype of the log-likelihoods; ``-inf`` if all labellings are
        ruled out, if the urn has too few elements, or if a size is no whole number. Then the
        gradient is 0.
    :raises ValueError: if the shapes do not fit, or if the table needs more than ``max_states``
        numbers. Also if ``total_count`` is not N; where this cannot be checked without waiting for
        a device, or in a trace, the result is ``-inf``.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_label_evidence
    >>> likelihoods = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> log_label_evidence(
    ...     log_likelihoods=likelihoods.log(),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(2),
    ... ).exp()  # (0.9 * 0.8 + 0.1 * 0.2) / 2
    tensor(0.3700)
    """
    shape = static_shape(log_likelihoods)
    elements = shape[-2] if len(shape) > 1 else 0
    theta = log_weights.double()
    top = theta.detach().amax(-1, keepdim=True)
    # Only ratios of weights matter.
    theta = theta - torch.where(top.isfinite(), top, 0.0)
    total = total_count.detach()
    if may_branch(total):
        wrong = total[total != elements]
        if wrong.numel():
            raise ValueError(
                f"Expected `total_count` to be {elements}, the number of elements of "
                f"`log_likelihoods` of shape {shape}, but got "
                f"{wrong[0].item():g}."
            )
    batch = batch_of(
        {
            "log_likelihoods": (shape, 2),
            "log_weights": (static_shape(theta), 1),
            "group_sizes": (static_shape(group_sizes), 1),
            "total_count": (static_shape(total), 0),
        }
    )
    joint = log_likelihoods.double() + theta.unsqueeze(-2)
    joint = joint.expand(*batch, *shape[-2:])
    m = group_sizes.detach().double()
    counts = ((m >= 0) & (m % 1 == 0)).all(-1)
    m = torch.where(counts.unsqueeze(-1), m, 0.0)
    bags = bags_of(joint, m, None, "log_likelihoods")
    log_prior = log_partition(theta, m, total).expand(batch).reshape(-1)
    legal = (counts & (total == elements)).expand(batch).reshape(-1)
    possible = (log_prior > -torch.inf) & legal
    log_prior = torch.where(possible, log_prior, 0.0)
    result = uncompiled(_log_sum, bags, possible.detach(), max_states)
    possible = possible & (result != -torch.inf)
    result = torch.where(possible, result - log_prior, -torch.inf)
    return bags.unflattened(result).to(log_likelihoods.dtype)


def _log_sum(bags: Bags, possible: Tensor, max_states: int) -> Tensor:
    with torch.no_grad():
        problem, limits = _problem(bags, possible)
        chunks = chunks_of(limits, max_states)
    return chunks.guard(log_label_sum(bags.scores, problem, chunks), limits)


def _problem(bags: Bags, possible: Tensor) -> tuple[LabelProblem, Tensor]:
    """The sum over all labellings of prod_k (m_k)_(n_k) exp(sum of scores) / N!."""
    # The elements that are not drawn get labels too, with equal scores. Then all counts are known,
    # and balancing shifts exist. If these elements were far more than those that are drawn, the
    # shifts would hardly be found. So a large group has fewer elements here, of a larger weight.
    elements = static_shape(bags.scores)[-2]
    sizes = torch.where(possible.unsqueeze(-1), bags.sizes, 0.0)
    scores = bags.scores.detach().masked_fill((sizes == 0).unsqueeze(-2), -torch.inf)
    possible = possible & (scores != -torch.inf).any(-1).all(-1)
    sizes = torch.where(possible.unsqueeze(-1), sizes, 0.0)
    limits = sizes.clamp(max=elements)
    counts = sizes.clamp(max=elements * max(_LARGE, elements / _MANY))
    weights = torch.where(counts > 0, sizes / counts, 1.0).log()
    j = torch.arange(largest(limits) + 1, dtype=sizes.dtype, device=sizes.device)
    within = torch.minimum(j, sizes.unsqueeze(-1))
    factorial = torch.lgamma(within + 1)
    falling = log_binomial_coefficient(sizes.unsqueeze(-1), within) + factorial
    allowed = (j <= limits.unsqueeze(-1)) & possible[..., None, None]
    everything = torch.lgamma(torch.full_like(sizes[..., 0], elements + 1.0))
    return label_problem(
        scores=scores + weights.unsqueeze(-2),
        rows=possible.unsqueeze(-1) & bags.present,
        repeats=torch.where(possible, counts.sum(-1) - elements, 0.0),
        counts=counts,
        limits=limits,
        log_factors=torch.where(allowed, falling - j * weights.unsqueeze(-1), -torch.inf),
        offset=-everything,
        known=torch.zeros_like(scores),
    )
