# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""The identity on which the package rests: the law of a sum of independent binomials.

**The problem.** Fisher's law is :math:`p(x) = P_0^{-1} \prod_i \binom{m_i}{x_i} w_i^{x_i}` on the
counts that sum to :math:`n`. Its constant is a sum over all count vectors:

.. math:: P_0 = [z^n] \prod_i (1 + w_i z)^{m_i} .

**The identity.** Let :math:`\theta_i = \log w_i`. Let :math:`S` be a sum of independent counts
:math:`\mathrm{Bin}(m_i, p_i)` with :math:`p_i = \mathrm{sigmoid}(\theta_i + s)`. Then, for every
real number :math:`s`,

.. math:: \log P_0 = \sum_i m_i \, \mathrm{softplus}(\theta_i + s) - n s + \log \Pr[S = n] .

Proof: replace :math:`z` by :math:`z e^s`, and multiply by :math:`e^{-n s}`. This does not change
:math:`P_0`. Now divide the polynomial by its value at :math:`z = 1`, which is
:math:`\prod_i (1 + w_i e^s)^{m_i}`. The result is the generating function of :math:`S`.

**The tilt.** The number :math:`s` is the tilt. It multiplies all odds by :math:`e^s`. Every tilt
gives the same :math:`P_0`, but not the same :math:`\Pr[S = n]`. At the saddle point the mean of
:math:`S` is :math:`n`. There :math:`\Pr[S = n]` is near the peak of its law, and nothing cancels.
An error in :math:`s` costs nothing, as long as :math:`n` stays near the peak. The tilt needs no
gradient, because the result does not depend on it.
:func:`~pyro_hypergeo.ops.saddlepoint.tilt.find_tilt` aims at :math:`n - \frac12`, not at
:math:`n`. This keeps small means accurate if :math:`S` is almost certain.

**The nodes.** The trapezoidal rule with :math:`K` nodes inverts the characteristic function:

.. math::

    \Pr[S = n] \approx \frac1K \sum_{j=0}^{K-1} \mathrm{Re} \Bigl[ e^{-i n t_j}
        \prod_i (1 - p_i + p_i e^{i t_j})^{m_i} \Bigr], \qquad t_j = \frac{2 \pi j}{K} .

Its error is the sum of all :math:`\Pr[S = n + l K]` with :math:`l \ne 0`. If :math:`K` is at least
8 standard deviations of :math:`S` plus 10.7, each of them is below 1.3e-14 of the peak. If
:math:`K` is larger than the number of elements, there is no error. The terms of :math:`t` and
:math:`-t` are conjugate, so half of them are computed. 21 nodes beside :math:`t_0 = 0` are enough
for every urn. For the modulus is at most :math:`\exp(-2 V \sin^2(t / 2))`, with :math:`V` the
variance of :math:`S`. If :math:`V` is large, the modulus has decayed before node 22. If :math:`V`
is small, :math:`K` is small. The worst case is a standard deviation near 4. On the CPU, the number
of nodes follows from the variances of the batch: 12 to 14 for most urns. All arithmetic is real:
log-moduli and phases are summed over the groups.

**Derivatives.** The same nodes give the mean and the covariance of the counts. Let :math:`b_i(t)`
be the derivative of :math:`m_i \log(1 - p_i + p_i e^{i t})` in :math:`\theta_i`, and :math:`E` the
average over the nodes, weighted by the integrand. The mean is :math:`m_i p_i + E[b_i]`. The
covariance is the centred :math:`E[b_i b_j] - E[b_i] E[b_j]`, and one more term on the diagonal.
The third cumulants are averages of three such factors. Each average is a product of one table and
of columns that do not depend on the group.

**Accuracy.** The tests compare with exact arithmetic, to relative errors of 1e-12
(:math:`\log P_0`), 1e-11 (means) and 1e-8 (variances).

===================  ===============================================================================
``tilt``             finds the tilt, by Newton's method
``lattice``          the tilted groups, the nodes, and :math:`\Pr[S = n]` by the trapezoidal rule
``derivatives``      averages over the nodes, from which means and covariances follow
``third_cumulants``  third cumulants times two vectors
===================  ===============================================================================

**References:**

[1] Daniels, H. E. (1954) "Saddlepoint approximations in statistics", Annals of Mathematical
    Statistics 25(4): the tilt.

[2] Trefethen, L. N. and Weideman, J. A. C. (2014) "The exponentially convergent trapezoidal rule",
    SIAM Review 56(3): the nodes.

[3] Loader, C. (2000) "Fast and accurate computation of binomial probabilities": the tilted
    binomials, in :mod:`pyro_hypergeo.ops.binomial`.
"""
