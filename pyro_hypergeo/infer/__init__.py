# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from .fit import NoFiniteEstimateError, WeightsFit, fit_weights

__all__ = ["NoFiniteEstimateError", "WeightsFit", "fit_weights"]
