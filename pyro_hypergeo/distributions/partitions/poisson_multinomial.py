# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Counts of independent labels."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ...ops.errors import at_index, first_of, shown
from ...ops.inverse_cdf import index_by_cdf
from ...ops.partitions.assignment_sample import assignment_sample
from ...ops.partitions.assignments import assignment_marginals, log_assignments
from ...ops.tracing import static_shape
from ..arrays import Numbers, as_tensor
from ..constraints import hypergeometric_counts, log_weight
from ..observations import check_shape, impossible
from .elements import check_scores, rows_present


class PoissonMultinomial(TorchDistribution):
    r"""
    Counts of independent labels: the Poisson multinomial distribution.

    Each of :math:`N` elements has one of :math:`K` labels. The elements are independent, and each
    has its own probabilities. Let :math:`n_k` be the number of elements with label k. With scores
    :math:`s`, these counts have the probability

    .. math::

        p(n) = \sum_{z : \, n(z) = n} \prod_{e=1}^N
        \operatorname{softmax}(s_e)_{z_e} ,
        \qquad \sum_k n_k = N .

    So a model with hidden labels and known counts is one line. Here a classifier learns from
    counts only. No image has a label::

        with pyro.plate("bags", len(images)):
            pyro.sample("counts", PoissonMultinomial(net(images)), obs=counts)

    The elements of a batch of bags have scores of the shape ``(bags, N, K)``. If bags have
    different numbers of elements, fill them up with anything, and say in ``present`` which elements
    there are. Where the labels have a prior with learnable weights instead of known counts, use
    :func:`pyro_hypergeo.ops.log_label_evidence`.

    All computation is in float64. Scores may have any range. :meth:`log_prob` is differentiable
    in the scores, once. Let :math:`S = \prod_k (n_k + 1)` be the number of states of the counts,
    where the product leaves out the largest count. Costs are for one batch entry:

    ======================================  =======================================================
    :meth:`log_prob`                        :math:`O(N K S)`; :math:`O(N)` for two labels
    :meth:`posterior_labels`                the same
    :meth:`sample_labels`                   the same once, and :math:`O(N K)` a draw
    :attr:`mean`, :attr:`variance`          :math:`O(N K)`
    :attr:`covariance_matrix`               :math:`O(N K^2)`
    :meth:`sample`                          :math:`O(N K)` a draw
    ======================================  =======================================================

    **References:**

    [1] Daskalakis, C., Kamath, G. and Tzamos, C. (2015) "On the structure, covering, and learning
        of Poisson multinomial distributions", FOCS.

    [2] Lin, Z., Wang, Y. and Hong, Y. (2022) "The Poisson multinomial distribution and its
        applications in voting theory, ecological inference, and machine learning", arXiv.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import PoissonMultinomial
        >>> probs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
        >>> bag = PoissonMultinomial(probs.log())
        >>> bag.log_prob(torch.tensor([1.0, 1.0, 1.0])).exp()
        tensor(0.2860)
        >>> bag.posterior_labels(torch.tensor([1.0, 1.0, 1.0]))
        tensor([[0.8566, 0.0490, 0.0944],
                [0.0385, 0.8671, 0.0944],
                [0.1049, 0.0839, 0.8112]])

    :param log_scores: :math:`s`, of shape ``batch_shape + (N, K)``. A constant that is added to a
        row changes nothing. ``-inf`` rules a label out.
    :type log_scores: list of float or torch.Tensor
    :param present: which elements there are, booleans of shape ``batch_shape + (N,)``; all if not
        given.
    :type present: list of bool or torch.Tensor
    :raises ValueError: if a score is NaN or infinite, if an element has no possible label, or if
        the shapes do not fit.
    """

    arg_constraints = {"log_scores": constraints.independent(log_weight, 2)}

    def __init__(
        self,
        log_scores: Numbers,
        present: Numbers | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        scores = as_tensor(log_scores, None, "log_scores")
        if not scores.is_floating_point():
            scores = scores.to(torch.get_default_dtype())
        given = static_shape(scores)
        if len(given) < 2 or given[-1] < 1:
            raise ValueError(
                "Expected `log_scores` of shape (..., N, K) for N elements and K labels, but got "
                f"shape {given}."
            )
        self.present = None if present is None else rows_present(present, scores)
        rows = given[:-1] if self.present is None else static_shape(self.present)
        shape = Size((*rows, given[-1]))
        # Only a leaf of the autograd graph can be copied; an expanded tensor is none.
        self.log_scores = scores if given == shape else scores.expand(shape)
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            check_scores(self.log_scores, self._there)
        super().__init__(shape[:-2], shape[-1:], validate_args=False)
        self._validate_args = validate_args

    @property
    def _there(self) -> Tensor:
        if self.present is not None:
            return self.present
        return torch.ones(
            self.log_scores.shape[:-1], dtype=torch.bool, device=self.log_scores.device
        )

    @lazy_property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the labels in float64, of shape ``batch_shape + (N, K)``.

        Rows of absent elements say nothing.
        """
        scores = self.log_scores.double()
        if self.present is not None:
            scores = torch.where(self.present.unsqueeze(-1), scores, 0.0)
        return scores.log_softmax(-1)

    @property
    def total_count(self) -> Tensor:
        """The number of elements, N, of the batch shape."""
        return self._there.sum(-1).to(self.log_scores.dtype)

    @property
    def max_counts(self) -> Tensor:
        """How many elements can have each label, of shape ``batch_shape + (K,)``."""
        possible = (self.log_scores > -torch.inf) & self._there.unsqueeze(-1)
        return possible.sum(-2).to(self.log_scores.dtype)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Integer counts that sum to N, each at most the number of elements that can have it.

        If scores of ``-inf`` rule labels out, not all of these counts need be possible. The others
        have the log-probability ``-inf``.
        """
        return hypergeometric_counts(self.max_counts, self.total_count)

    @staticmethod
    def infer_shapes(  # type: ignore[override]
        log_scores: tuple[int, ...], present: tuple[int, ...] | None = None
    ) -> tuple[Size, Size]:
        """Batch and event shape, from the shapes of the arguments."""
        batch = broadcast_shape(log_scores[:-2], (present or log_scores[:-1])[:-1])
        return Size(batch), Size(log_scores[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        batch_shape = Size(batch_shape)
        shape = batch_shape + static_shape(self.log_scores)[-2:]
        new.log_scores = self.log_scores.expand(shape)
        new.present = None if self.present is None else self.present.expand(shape[:-1])
        if "log_probs" in self.__dict__:
            new.__dict__["log_probs"] = self.log_probs.expand(shape)
        super(PoissonMultinomial, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __getstate__(self) -> dict[str, Any]:
        # What is derived may belong to an autograd graph, which cannot be copied or pickled.
        return {key: value for key, value in self.__dict__.items() if key != "log_probs"}

    def log_prob(self, value: Numbers) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        :param value: counts, of shape ``sample_shape + batch_shape + (K,)``.
        :type value: list of float or torch.Tensor
        :raises ValueError: with validation, if a count vector is not in the support. Also if the
            sum needs a table of too many numbers: see
            :func:`pyro_hypergeo.ops.log_assignments`.
        """
        counts = self._counts(value)
        result = log_assignments(self.log_probs, counts, present=self.present)
        return result.to(self.log_scores.dtype)

    def posterior_labels(self, counts: Numbers) -> Tensor:
        """Probability of each label of each element, given the counts.

        :param counts: of shape ``sample_shape + batch_shape + (K,)``.
        :type counts: list of float or torch.Tensor
        :return: shape ``sample_shape + batch_shape + (N, K)``; rows of absent elements are 0.
        :raises ValueError: as :meth:`log_prob`.
        """
        value = self._counts(counts)
        result = assignment_marginals(self.log_probs, value, present=self.present)
        return result.to(self.log_scores.dtype)

    def sample_labels(self, counts: Numbers, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws of the labels, given the counts.

        :param counts: of shape ``batch_shape + (K,)``.
        :type counts: list of float or torch.Tensor
        :return: labels 0, ..., K - 1, of shape ``sample_shape + batch_shape + (N,)``; -1 for absent
            elements.
        :raises ValueError: as :meth:`log_prob`, and if the counts are impossible.
        """
        value = self._counts(counts)
        draws = Size(sample_shape)
        return assignment_sample(self.log_probs, value, draws, present=self.present)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (K,)``."""
        with torch.no_grad():
            cdf = self.log_probs.exp().cumsum(-1)
            shape = self._extended_shape(sample_shape)[:-1] + static_shape(cdf)[-2:]
            labels = index_by_cdf(cdf.expand(shape)).unsqueeze(-1)
            chosen = labels == torch.arange(self.event_shape[0], device=cdf.device)
            return (chosen & self._there.unsqueeze(-1)).sum(-2).to(self.log_scores.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean counts, of shape ``batch_shape + (K,)``."""
        return self._probs.sum(-2).to(self.log_scores.dtype)

    @property
    def variance(self) -> Tensor:
        """Variances of the counts, of shape ``batch_shape + (K,)``."""
        probs = self._probs
        return (probs * (1 - probs)).sum(-2).to(self.log_scores.dtype)

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix of the counts, of shape ``batch_shape + (K, K)``."""
        probs = self._probs
        together = probs.mT @ probs
        return (torch.diag_embed(probs.sum(-2)) - together).to(self.log_scores.dtype)

    @property
    def _probs(self) -> Tensor:
        return self.log_probs.exp() * self._there.unsqueeze(-1)

    def _counts(self, value: Numbers) -> Tensor:
        counts = as_tensor(value, self.log_scores.device)
        if self._validate_args:
            self._validate_sample(counts)
        return counts

    def _validate_sample(self, value: Tensor) -> None:
        check_shape(value, self.batch_shape, self.event_shape)
        valid = self.support.check(value)
        wrong = impossible(valid, value.shape[:-1])
        if torch._is_all_true(~wrong):
            return
        first = first_of(wrong)
        counts = value.expand(*valid.shape, value.shape[-1])[first]
        most = self.max_counts.expand(*valid.shape, value.shape[-1])[first]
        total = shown(self.total_count.expand(valid.shape)[first])
        raise ValueError(
            f"Expected `value` of shape {tuple(value.shape)} to be counts of labels, integers "
            f"between 0 and {[shown(x) for x in most]} that sum to the number of elements, "
            f"{total}, but found {counts.tolist()}{at_index(first)}."
        )
