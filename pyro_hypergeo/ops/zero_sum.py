# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn.functional import pad

# Householder's reflection that takes the last axis to the negative of the direction (1, ..., 1)
# takes the other axes to an orthonormal basis of the vectors that sum to zero. Written out for
# one vector, it is a sum and a shift of all entries: nothing of size G x G is ever formed.


def zero_sum_vector(coordinates: Tensor) -> Tensor:
    r"""The vector that sums to zero and has these coordinates in an orthonormal basis.

    .. math::

        x_i = z_i - \frac{s}{G + \sqrt G} \quad (i < G), \qquad
        x_G = -\frac{s}{\sqrt G}, \qquad s = \sum_i z_i .

    An isometry: it keeps lengths, angles and volumes. Cost: O(G).

    :param Tensor coordinates: :math:`z`, shape ``(..., G - 1)``.
    :return: :math:`x`, shape ``(..., G)``.

    >>> import torch
    >>> from pyro_hypergeo.ops.zero_sum import zero_sum_vector
    >>> zero_sum_vector(torch.tensor([3.0, 0.0, 0.0]))
    tensor([ 2.5000, -0.5000, -0.5000, -1.5000])
    """
    size = _entries(coordinates) + 1
    total = coordinates.sum(-1, keepdim=True)
    first = coordinates - total / (size + math.sqrt(size))
    last = total / -math.sqrt(size)
    # Padding, unlike concatenation, broadcasts the batch shape by itself under vmap and trace.
    return pad(first, (0, 1)) + pad(last, (size - 1, 0))


def zero_sum_coordinates(vector: Tensor) -> Tensor:
    r"""The coordinates of a vector that sums to zero: the inverse of :func:`zero_sum_vector`.

    .. math:: z_i = x_i - \frac{x_G}{1 + \sqrt G} .

    Cost: O(G).

    :param Tensor vector: :math:`x`, shape ``(..., G)``.
    :return: :math:`z`, shape ``(..., G - 1)``.

    >>> import torch
    >>> from pyro_hypergeo.ops.zero_sum import zero_sum_coordinates
    >>> zero_sum_coordinates(torch.tensor([2.5, -0.5, -0.5, -1.5]))
    tensor([3., 0., 0.])
    """
    return vector[..., :-1] - vector[..., -1:] / (1 + math.sqrt(_entries(vector)))


def zero_sum_normal_log_prob(value: Tensor, scale: Tensor) -> Tensor:
    r"""Log-density of the normal law on the hyperplane of vectors that sum to zero.

    .. math:: -\frac{\lVert x \rVert^2}{2 \sigma^2} - (G - 1) \log(\sigma \sqrt{2 \pi})

    Cost: O(G).

    :param Tensor value: :math:`x`, shape ``(..., G)``, taken to sum to zero.
    :param Tensor scale: :math:`\sigma`, shape ``(...)``.

    >>> import torch
    >>> from pyro_hypergeo.ops.zero_sum import zero_sum_normal_log_prob
    >>> zero_sum_normal_log_prob(torch.tensor([1.0, -1.0]), torch.tensor(1.0))
    tensor(-1.9189)
    """
    square = (value / scale.unsqueeze(-1)).square().sum(-1)
    normaliser = scale.log() + 0.5 * math.log(2 * math.pi)
    return -0.5 * square - (_entries(value) - 1) * normaliser


def _entries(vector: Tensor) -> int:
    if not torch.jit.is_tracing():
        return vector.shape[-1]
    # The size of an event is a constant of a trace, as everywhere.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(vector.shape[-1])
