# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-likelihood of many strata and its derivatives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LogLikelihood(NamedTuple):
    """The log-likelihood of log-weights over all strata, and its derivatives."""

    value: Tensor  # ()
    gradient: Tensor  # (G,)
    information: Tensor  # (G, G): minus the second derivative
