# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from torch import Tensor

from ._cumulants import covariance64, cumulants, variance64
from ._urn import make_urn


def log_partition(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    return cumulants(log_weights, group_sizes, total_count).log_partition.to(log_weights.dtype)


def mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    return cumulants(log_weights, group_sizes, total_count).mean.to(log_weights.dtype)


def variance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    return variance64(make_urn(log_weights, group_sizes, total_count)).to(log_weights.dtype)


def covariance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    return covariance64(make_urn(log_weights, group_sizes, total_count)).to(log_weights.dtype)
