# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Vectors that sum to zero: coordinates, and a normal law on them.

A Householder reflection maps the last axis to minus the direction (1, ..., 1). It maps the other
axes to an orthonormal basis of the vectors that sum to zero. For one vector, this reflection is a
sum and a shift of all entries. So no matrix of size G x G is formed.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn.functional import pad


def zero_sum_vector(coordinates: Tensor) -> Tensor:
    r"""The vector that sums to zero and has these coordinates in an orthonormal basis.

    .. math::

        x_i = z_i - \frac{s}{G + \sqrt G} \quad (i < G), \qquad
        x_G = -\frac{s}{\sqrt G}, \qquad s = \sum_i z_i .

    The map keeps lengths, angles and volumes. Differentiable in the coordinates. Cost: O(G).

    :param Tensor coordinates: :math:`z`, shape ``(..., G - 1)``.
    :return: :math:`x`, shape ``(..., G)``, in the dtype of the coordinates.

    >>> import torch
    >>> from pyro_hypergeo.ops import zero_sum_vector
    >>> zero_sum_vector(coordinates=torch.tensor([3.0, 0.0, 0.0]))
    tensor([ 2.5000, -0.5000, -0.5000, -1.5000])
    """
    size = _entries(coordinates) + 1
    total = coordinates.sum(-1, keepdim=True)
    first = coordinates - total / (size + math.sqrt(size))
    last = total / -math.sqrt(size)
    # Padding handles the batch shape under vmap and trace. Concatenation does not.
    return pad(first, (0, 1)) + pad(last, (size - 1, 0))


def zero_sum_coordinates(vector: Tensor) -> Tensor:
    r"""The coordinates of a vector that sums to zero: the inverse of :func:`zero_sum_vector`.

    .. math:: z_i = x_i - \frac{x_G}{1 + \sqrt G} .

    Differentiable in the vector. Cost: O(G).

    :param Tensor vector: :math:`x`, shape ``(..., G)``. It must sum to zero; this is not checked.
    :return: :math:`z`, shape ``(..., G - 1)``, in the dtype of the vector.

    >>> import torch
    >>> from pyro_hypergeo.ops import zero_sum_coordinates
    >>> zero_sum_coordinates(vector=torch.tensor([2.5, -0.5, -0.5, -1.5]))
    tensor([3., 0., 0.])
    """
    return vector[..., :-1] - vector[..., -1:] / (1 + math.sqrt(_entries(vector)))


def zero_sum_normal_log_prob(value: Tensor, scale: Tensor) -> Tensor:
    r"""Log-density of the normal law on the hyperplane of vectors that sum to zero.

    .. math:: -\frac{\lVert x \rVert^2}{2 \sigma^2} - (G - 1) \log(\sigma \sqrt{2 \pi})

    Differentiable in both arguments. Cost: O(G).

    :param Tensor value: :math:`x`, shape ``(..., G)``. It must sum to zero; this is not checked.
    :param Tensor scale: :math:`\sigma > 0`, shape ``(...)``.
    :return: shape ``(...)``, in the dtype of the arguments.

    >>> import torch
    >>> from pyro_hypergeo.ops import zero_sum_normal_log_prob
    >>> zero_sum_normal_log_prob(value=torch.tensor([1.0, -1.0]), scale=torch.tensor(1.0))
    tensor(-1.9189)
    """
    square = (value / scale.unsqueeze(-1)).square().sum(-1)
    normaliser = scale.log() + 0.5 * math.log(2 * math.pi)
    return -0.5 * square - (_entries(value) - 1) * normaliser


def _entries(vector: Tensor) -> int:
    if not torch.jit.is_tracing():
        return vector.shape[-1]
    # While torch.jit.trace runs, a shape is a tensor. G becomes a constant of the trace.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(vector.shape[-1])
