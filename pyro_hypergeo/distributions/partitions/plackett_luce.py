# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Orders of all elements by the law of Plackett and Luce."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor

from ...ops.errors import at_index, check, first_of
from ...ops.partitions.plackett_luce import plackett_luce_log_prob, plackett_luce_sample
from ..arrays import Numbers, as_tensor
from ..constraints import log_weights, permutation
from ..observations import check_shape, impossible


class PlackettLuce(TorchDistribution):
    r"""
    Orders of all elements: the first is chosen by its score, then the second from the rest.

    With scores :math:`w` and an order :math:`\pi` of the elements 0, ..., :math:`N - 1`,

    .. math::

        p(\pi) = \prod_{i=1}^{N} \frac{w_{\pi_i}}{\sum_{j \ge i} w_{\pi_j}} .

    The value holds the elements in the order in which they are chosen: ``value[..., 0]`` is the
    first. Only ratios of scores matter. Elements of score 0 come last, in a uniformly random order.

    The set of the first :math:`k` elements is the first group of
    :class:`~pyro_hypergeo.WalleniusPartition` with the sizes :math:`k` and :math:`N - k`, which has
    its probability and its mean. Costs are for one batch entry:

    =========================  ==================
    :meth:`log_prob`           :math:`O(N)`
    :meth:`sample`, exact      one sort
    :attr:`mode`               one sort
    =========================  ==================

    **References:**

    [1] Luce, R. D. (1959) "Individual Choice Behavior", Wiley.

    [2] Plackett, R. L. (1975) "The analysis of permutations", Applied Statistics 24(2).

    Example::

        >>> import torch
        >>> from pyro_hypergeo import PlackettLuce
        >>> race = PlackettLuce(log_scores=torch.tensor([1.0, 2.0, 1.0]).log())
        >>> race.log_prob(torch.tensor([1, 0, 2])).exp()  # 2/4 times 1/2
        tensor(0.2500)
        >>> race.mode[0]
        tensor(1)

    :param log_scores: logarithms of the scores, of shape ``batch_shape + (N,)``; ``-inf`` is a
        score of 0.
    :type log_scores: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here.
    """

    arg_constraints = {"log_scores": log_weights}
    support = permutation

    def __init__(self, log_scores: Numbers, *, validate_args: bool | None = None) -> None:
        scores = as_tensor(log_scores, name="log_scores")
        if not scores.is_floating_point():
            scores = scores.to(torch.get_default_dtype())
        if scores.dim() < 1 or scores.shape[-1] < 1:
            raise ValueError(
                "Expected `log_scores` to have one entry for each element in its last dimension, "
                f"but got shape {tuple(scores.shape)}."
            )
        if validate_args is None:
            validate_args = self._validate_args
        if validate_args:
            allowed = "real or -inf, the logarithm of a zero score"
            check("log_scores", scores, scores < torch.inf, allowed)
        self.log_scores = scores
        super().__init__(scores.shape[:-1], scores.shape[-1:], validate_args=False)
        self._validate_args = validate_args

    @staticmethod
    def infer_shapes(log_scores: tuple[int, ...]) -> tuple[Size, Size]:  # type: ignore[override]
        """Batch and event shape, from the shape of ``log_scores``."""
        return Size(log_scores[:-1]), Size(log_scores[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        batch_shape = Size(batch_shape)
        new.log_scores = self.log_scores.expand(batch_shape + self.event_shape)
        super(PlackettLuce, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (N,)``, dtype ``torch.long``."""
        return plackett_luce_sample(self.log_scores, Size(sample_shape))

    def log_prob(self, value: Numbers) -> Tensor:
        """Log-probability of orders, of shape ``sample_shape + batch_shape``.

        It is differentiable in the scores. Without validation it is ``-inf`` for what is no
        permutation.

        :param value: permutations of 0, ..., N - 1, of shape ``sample_shape + batch_shape + (N,)``.
        :type value: list of int or torch.Tensor
        :raises ValueError: with validation, if a vector is no permutation.
        """
        value = as_tensor(value, self.log_scores.device)
        if self._validate_args:
            self._validate_sample(value)
        return plackett_luce_log_prob(value, self.log_scores)

    def _validate_sample(self, value: Tensor) -> None:
        check_shape(value, self.batch_shape, self.event_shape)
        wrong = impossible(permutation.check(value), value.shape[:-1])
        if torch._is_all_true(~wrong):
            return
        first = first_of(wrong)
        raise ValueError(
            f"Expected `value` of shape {tuple(value.shape)} to be permutations of 0, ..., "
            f"{self.event_shape[0] - 1}, but found {value[first].tolist()}{at_index(first)}."
        )

    @property
    def mode(self) -> Tensor:
        """A most probable order: the elements by falling scores, ``batch_shape + (N,)``."""
        return self.log_scores.detach().argsort(-1, descending=True)
