# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Weights that depend on covariates: conditional maximum likelihood, and what follows from it.

==================  ================================================================================
``fit_regression``  the function that users call
``rows``            the rows of a long table, checked
``strata``          the same rows as batches of strata of like length
``existence``       whether the likelihood has one maximum, and what to say if not
``within_strata``   rows centred in their strata, and columns that depend on each other there
``separation``      a direction in which the likelihood grows without end
``likelihood``      the log-likelihood of the batches, and its derivatives
``regression_fit``  the result
``statistics``      tests with a chi-square law
``score_tests``     tests of many further covariates
``robust``          standard errors from the scores of clusters
``permutation``     p-values from permuted labels
``prediction``      means, variances and draws of the rows
``summary``         the result as text
==================  ================================================================================
"""

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
