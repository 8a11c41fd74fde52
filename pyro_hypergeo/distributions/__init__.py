# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from . import kl
from .central import MultivariateHypergeometric
from .constraints import hypergeometric_counts
from .fisher import FisherHypergeometric

__all__ = ["FisherHypergeometric", "MultivariateHypergeometric", "hypergeometric_counts", "kl"]
