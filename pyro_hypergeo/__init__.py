# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's noncentral hypergeometric distribution for Pyro: exact, fast, differentiable."""

from .distributions import FisherHypergeometric as FisherHypergeometric
from .distributions import MultivariateHypergeometric as MultivariateHypergeometric
from .infer import NoFiniteEstimateError as NoFiniteEstimateError
from .infer import WeightsFit as WeightsFit
from .infer import fit_weights as fit_weights

__version__ = "0.1.0"
