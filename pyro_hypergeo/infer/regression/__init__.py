# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Weights that depend on covariates: conditional maximum likelihood, and what follows from it."""

from .fit_regression import fit_regression
from .regression_fit import RegressionFit
from .score_tests import ScoreTests
from .statistics import ChiSquareTest
from .strata import StratifiedTable

__all__ = [
    "ChiSquareTest",
    "RegressionFit",
    "ScoreTests",
    "StratifiedTable",
    "fit_regression",
]
