# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Inference with the distributions: maximum likelihood, a guide, latent counts, gradients."""

from .auto_hypergeometric import AutoHypergeometric
from .compare import LawComparison, compare_laws
from .enumerated_posterior import CountsPosterior, enumerated_posterior
from .expectation import expectation
from .fit import NoFiniteEstimateError, WeightsFit, fit_weights
from .markov_counts import markov_counts
from .sizes import sizes_from_mean

__all__ = [
    "AutoHypergeometric",
    "CountsPosterior",
    "LawComparison",
    "NoFiniteEstimateError",
    "WeightsFit",
    "compare_laws",
    "enumerated_posterior",
    "expectation",
    "fit_weights",
    "markov_counts",
    "sizes_from_mean",
]
