# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Elementary symmetric polynomials: log-partition functions of groups of one element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..log_convolution import log_convolve
from .moments import log_partition


def log_elementary_symmetric(log_values: Tensor, order: int | Tensor) -> Tensor:
    r"""Logarithm of one elementary symmetric polynomial of positive values.

    .. math::

        \log e_k(v) = \log \sum_{i_1 < \dots < i_k} v_{i_1} \cdots v_{i_k}

    This is :func:`log_partition` of groups of one element each. Differentiable. Cost: O(G) for any
    order.

    :param Tensor log_values: :math:`\log v`, shape ``(..., G)``; ``-inf`` is a value of 0.
    :param order: :math:`k`; an int or a tensor of shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the logarithms; ``-inf`` where no product has k
        factors above 0. The gradient is the probability of each value to be in the product.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_elementary_symmetric
    >>> values = torch.tensor([1.0, 2.0, 3.0])
    >>> log_elementary_symmetric(log_values=values.log(), order=2).exp()  # 2 + 3 + 6
    tensor(11.0000)
    """
    k = torch.as_tensor(order, dtype=torch.float64, device=log_values.device)
    return log_partition(log_values, torch.ones_like(log_values), k)


def log_elementary_symmetrics(log_values: Tensor, max_order: int | None = None) -> Tensor:
    r"""Logarithms of the elementary symmetric polynomials of all orders 0, ..., ``max_order``.

    .. math::

        \sum_k e_k(v) z^k = \prod_i (1 + v_i z)

    A binary tree takes the product in log space. All terms are positive, so every order has full
    relative accuracy. Differentiable twice. Cost: O(G K) with K = max_order, in log2 G steps.

    :param Tensor log_values: :math:`\log v`, shape ``(..., G)``; ``-inf`` is a value of 0.
    :param int max_order: the largest order; G if not given.
    :return: shape ``(..., max_order + 1)``, in the dtype of the logarithms; ``-inf`` as for
        :func:`log_elementary_symmetric`.
    :raises ValueError: if ``max_order`` is negative.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_elementary_symmetrics
    >>> log_elementary_symmetrics(log_values=torch.tensor([1.0, 2.0, 3.0]).log()).exp()
    tensor([ 1.0000,  6.0000, 11.0000,  6.0000])
    """
    if max_order is None:
        max_order = log_values.shape[-1]
    if max_order < 0:
        raise ValueError(f"Expected `max_order` not to be negative, but got {max_order}.")
    root = product_tree(log_values, max_order)[-1][..., 0, : max_order + 1]
    missing = max(0, max_order + 1 - root.shape[-1])
    return pad(root, (0, missing), value=-torch.inf).to(log_values.dtype)


def product_tree(log_values: Tensor, max_order: int) -> list[Tensor]:
    """All levels of the binary tree that multiplies the factors 1 + v z, in float64.

    A level has the shape ``(..., factors, orders)``: the log-coefficients of its polynomials. The
    first level holds the factors. The last one holds their product, up to ``max_order``. Every
    other level has an even number of factors: a factor of 1 fills it.
    """
    values = log_values.shape[-1]
    # A value of 0 is a factor of 1.
    leaf = pad(log_values.double(), (0, max(1, values) - values), value=-torch.inf).unsqueeze(-1)
    levels = [torch.cat([torch.zeros_like(leaf), leaf], -1)]
    while levels[-1].shape[-2] > 1:
        factors = levels[-1] = _pad_to_even(levels[-1])
        left, right = factors[..., 0::2, :], factors[..., 1::2, :]
        length = min(2 * factors.shape[-1] - 1, max_order + 1)
        levels.append(log_convolve(left, right, length))
    return levels


def _pad_to_even(factors: Tensor) -> Tensor:
    if factors.shape[-2] % 2 == 0:
        return factors
    one = torch.full_like(factors[..., :1, :], -torch.inf)
    one[..., 0] = 0.0
    return torch.cat([factors, one], -2)
