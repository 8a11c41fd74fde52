# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Wallenius' noncentral hypergeometric law.

Elements are taken one after another. Each time, one of the elements that are left is chosen, with
a probability proportional to its weight.

**A race of clocks.** Give every element a clock. The clock of an element with weight :math:`w`
rings at a random time, exponential with rate :math:`w`. The elements of the first :math:`n` rings
are a draw from the law.

**The integral.** The counts are :math:`x` if all their elements ring before the first of the
others. That first one rings at a time :math:`u` with density :math:`D e^{-D u}`. So

.. math::

    p(x) = \prod_i \binom{m_i}{x_i} \int_0^\infty D e^{-D u}
        \prod_i \bigl(1 - e^{-w_i u}\bigr)^{x_i} du,
    \qquad D = \sum_i w_i (m_i - x_i) .

In :math:`v = \log u` the integrand is log-concave. We find its peak, and the point on each side
where it has vanished. For most urns, about 30 equal steps from one point to the other have no error
but rounding. Not for all: weights that differ by many orders of magnitude give a long gentle slope
that ends in a steep wall, and equal steps miss one of the two. Then each side has 64 Gauss-Legendre
nodes. They are also used wherever Python must not look at values: on another device than the CPU,
in traces, in compiled code, in ``torch.func``.

**Moments.** Let :math:`u` be the time of ring :math:`n + 1`. Given :math:`u`, the counts follow
Fisher's law with odds :math:`e^{w_i u} - 1`, tilted by the factor :math:`D(x)`. So the law is a
mixture of such laws over :math:`u`. Mean and covariance are integrals over :math:`u` and over the
phases of a characteristic function. The density of :math:`u` has the integral 1. So it is seen
whether the nodes miss a part of it, and a few of them can be tried first.

**Draws.** In small urns all clocks ring. In large urns the axis of time is cut in two again and
again. The number of rings of a group in one part is binomial. Only the part that holds ring
:math:`n` is cut further.

==================  ================================================================================
``clocks``          the race: its integrand, and the nodes of the integral
``density``         the log-probability of counts
``design``          the log-likelihood of coefficients of covariates, and its derivatives
``rings``           the rings of the groups up to a time
``ring``            the time of ring :math:`n + 1`: nodes for it
``quick_ring``      fewer nodes for it, found by searches that stop early
``mixture``         the law at these nodes, with few tables
``snapshots``       the counts at given times, for marginals
``moments``         mean, variances, covariances
``marginals``       marginals of single groups
``two_groups``      all counts of two groups: neighbouring counts share their nodes
``block_nodes``     the nodes that neighbouring counts share
``one_count``       one count of many groups, together with the time of ring :math:`n + 1`
``count_nodes``     the nodes for one count of many groups, and the integral
``sampling``        draws, by clocks or by cuts of the axis of time
``entropy``         the entropy, a sum over the support
``modes``           a most probable count vector
``inversion``       log-weights from means
``state``           the urn, and its moments once they are needed
``law``             the law as an object, which the other packages use
==================  ================================================================================

**References:**

[1] Wallenius, K. T. (1963) "Biased sampling: the noncentral hypergeometric probability
    distribution".

[2] Chesson, J. (1976) "A non-central multivariate hypergeometric distribution arising from biased
    sampling with application to selective predation", J. Applied Probability 13(4).

[3] Fog, A. (2008) "Calculation methods for Wallenius' noncentral hypergeometric distribution",
    Communications in Statistics, Simulation and Computation 37(2).
"""

from .density import wallenius_log_prob as wallenius_log_prob
