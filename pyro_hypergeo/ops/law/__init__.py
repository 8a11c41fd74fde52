# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What a law of counts must provide, and what follows from that for every law.

A law is short for a probability distribution of counts. It has six functions of an urn, all in
float64: ``solve``, ``log_prob``, ``mean``, ``covariance``, ``sample`` and ``log_marginal``. This
room derives the rest: variances, a mode, the entropy, weights from means, the derivatives of the
log-likelihood. A law overrides a method if it has a better way. A law of the form
p(x) ~ prod_i c_i(x_i) w_i^x_i also provides its terms and its log-partition function: see
:class:`ExponentialFamily`.

======================  ============================================================================
``law``                 :class:`Law`, with the functions that every law has
``exponential_family``  :class:`ExponentialFamily`
``likelihood``          the log-likelihood of strata, and its derivatives
``one_draw``            strata from which one element is drawn: the same under all laws
======================  ============================================================================
"""

from .exponential_family import ExponentialFamily
from .law import Law, State
from .likelihood import DesignTerms, LogLikelihood
from .one_draw import one_draw_terms

__all__ = ["DesignTerms", "ExponentialFamily", "Law", "LogLikelihood", "State", "one_draw_terms"]
