# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-likelihood of many strata, and its derivatives in log-weights or in coefficients."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LogLikelihood(NamedTuple):
    """The log-likelihood of log-weights over all strata, and its derivatives."""

    value: Tensor  # ()
    gradient: Tensor  # (G,)
    information: Tensor  # (G, G): minus the second derivative


class DesignTerms(NamedTuple):
    r"""The log-likelihood of S strata with log-weights theta = X beta + offset.

    X is the design: p covariates for each row of each stratum. The derivatives are in beta.
    """

    values: Tensor  # (S,): the log-probability of each stratum
    scores: Tensor  # (S, p): the gradient of each
    information: Tensor  # (p, p): minus the second derivative of their sum
