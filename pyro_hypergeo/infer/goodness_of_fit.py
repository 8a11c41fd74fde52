# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Do the same weights in all strata fit the counts?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Size, Tensor

from ..ops.urn import Bounds
from .maximum import NoFiniteEstimateError, blocks, check_finite, maximize
from .pearson import pearson, whitening

if TYPE_CHECKING:
    from .weights_fit import WeightsFit

# Below these p-values the model is called doubtful, or refuted.
_DOUBTFUL, _REFUTED = 0.05, 0.001
# Chi-squared is a good approximation if no mean count is smaller: Cochran's rule.
_SMALL = 5.0


class LikelihoodRatio(NamedTuple):
    """The test of common weights against weights of each stratum.

    >>> from pyro_hypergeo import fit_weights
    >>> fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]]).goodness_of_fit().likelihood_ratio
    LikelihoodRatio(statistic=0.3424..., degrees_of_freedom=1, p_value=0.5584...)

    :ivar float statistic: twice the gain of log-likelihood.
    :ivar int degrees_of_freedom: number of parameters more.
    :ivar float p_value: from the chi-squared law.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float | None


class GoodnessOfFit(NamedTuple):
    r"""The result of :meth:`WeightsFit.goodness_of_fit`. Printed, it says what it means.

    Pearson's statistic is

    .. math::

        X^2 = \sum_s (x_s - \mu_s)^\top \Sigma_s^+ (x_s - \mu_s) ,

    with the exact means and covariances of each stratum at the estimates. If the same weights hold
    in all strata, it has about a chi-squared law. A stratum with k groups adds k - 1 degrees of
    freedom if some of its elements were drawn, and some were not. The estimates take G - 1 of them.

    Where counts are small, the chi-squared law may be wrong. Then simulate: tables are drawn at the
    estimates, with the same totals. From the statistic of each table, and of the observed one, we
    take what the best weights of that table would remove, to first order:
    :math:`\min_\delta \sum_s |r_s - J_s \delta|^2_{\Sigma_s^+}`, with the slope :math:`J_s` of the
    mean. So no simulated table needs an estimate of its own, and none is left out.

    Cost: O(strata G^3), and O(simulations strata G^2).

    >>> from pyro_hypergeo import fit_weights
    >>> fit = fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]])
    >>> print(fit.goodness_of_fit())
    X2 0.3424 on 1 degree of freedom, p = 0.558: the same weights in all strata fit
    likelihood ratio against weights of each stratum: 0.3424 on 1 degree of freedom, p = 0.558
    some mean counts are below 5: a simulated p-value is safer

    References: McCullagh, P. and Nelder, J. A. (1989) "Generalized Linear Models", sections 4.5
    and 7.3.

    :ivar float statistic: Pearson's statistic.
    :ivar int degrees_of_freedom: its degrees of freedom.
    :ivar p_value: its p-value from the chi-squared law; None without degrees of freedom.
    :ivar p_simulated: the p-value by simulation; None if there was none.
    :ivar p_simulated_error: the standard error of ``p_simulated``.
    :ivar likelihood_ratio: a :class:`LikelihoodRatio`; None if a stratum has no finite estimate.
    :ivar str why_no_ratio: why there is no ``likelihood_ratio``; empty if there is.
    :ivar float scale: the factor by which intervals are too narrow: the root of the statistic over
        its degrees of freedom, and at least 1.
    :ivar torch.Tensor scaled_standard_errors: the standard errors times ``scale``, ``(G,)``.
    :ivar float smallest_mean: the smallest mean count of a cell, of drawn elements or of those
        that are left.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float | None
    p_simulated: float | None
    p_simulated_error: float | None
    likelihood_ratio: LikelihoodRatio | None
    why_no_ratio: str
    scale: float
    scaled_standard_errors: Tensor
    smallest_mean: float

    @property
    def small_counts(self) -> bool:
        """Whether some mean count is below 5, so that a simulated p-value is safer."""
        return self.smallest_mean < _SMALL

    @property
    def best_p_value(self) -> float | None:
        """The p-value by simulation if there is one, else that of the chi-squared law."""
        return self.p_value if self.p_simulated is None else self.p_simulated

    @property
    def refuted(self) -> bool:
        """Whether the p-value is below 0.001: the same weights in all strata do not fit."""
        p = self.best_p_value
        if p is None or self.p_value is None or self.p_simulated_error is None:
            return p is not None and p < _REFUTED
        # Few simulations cannot show a small p-value.
        return p < _REFUTED or (self.p_value < _REFUTED and p - 2 * self.p_simulated_error <= 0)

    def verdict(self) -> str:
        """One sentence about the model, without numbers except the scale."""
        p = self.best_p_value
        if p is None:
            return "nothing to test: no weights are compared by more than one stratum"
        if self.refuted:
            narrow = f"; the intervals are about {self.scale:.1f} times too narrow"
            return "the same weights in all strata do not fit" + narrow * (self.scale > 1)
        if p < _DOUBTFUL:
            return (
                "it is doubtful whether the same weights in all strata fit; the intervals may be "
                f"{self.scale:.1f} times too narrow"
            )
        return "the same weights in all strata fit"

    def __str__(self) -> str:
        if self.p_value is None:
            return self.verdict()
        degrees = _degrees(self.degrees_of_freedom)
        lines = [f"X2 {self.statistic:.4g} on {degrees}, {_p(self.p_value)}"]
        if self.p_simulated is not None and self.p_simulated_error is not None:
            error = f" (s.e. {self.p_simulated_error:.1g})" if self.p_simulated_error else ""
            lines[0] += f"; by simulation {_p(self.p_simulated)}{error}"
        lines[0] += f": {self.verdict()}"
        what = "likelihood ratio against weights of each stratum: "
        if self.likelihood_ratio is None:
            lines.append(f"{what}none, since {self.why_no_ratio}")
        elif (p_value := self.likelihood_ratio.p_value) is not None:
            lines.append(f"{what}{self.likelihood_ratio.statistic:.4g} on {degrees}, {_p(p_value)}")
        if self.small_counts and self.p_simulated is None:
            lines.append("some mean counts are below 5: a simulated p-value is safer")
        return "\n".join(lines)


def goodness_of_fit(fit: WeightsFit, simulations: int = 0, seed: int = 0) -> GoodnessOfFit:
    """Test whether the same weights in all strata fit: :meth:`WeightsFit.goodness_of_fit`.

    >>> from pyro_hypergeo import fit_weights
    >>> from pyro_hypergeo.infer.goodness_of_fit import goodness_of_fit
    >>> goodness_of_fit(fit_weights([9, 9], [3, 3])).degrees_of_freedom
    0
    """
    from scipy.special import chdtrc  # scipy takes long to import, and scipy.stats most

    if simulations < 0 or simulations != int(simulations):
        raise ValueError(
            f"Expected `simulations` to be an integer that is not negative, but got {simulations}."
        )
    inside = _inside(fit)
    sizes = fit.group_sizes[inside]
    degrees = int(((sizes > 0).sum(-1) - 1).sum()) - (len(fit.groups) - 1)
    statistic = float(pearson(fit.urn_law, fit.log_weights, fit.group_sizes, fit.counts))
    scale = max(1.0, (statistic / degrees) ** 0.5) if degrees else 1.0
    p, error = _simulated(fit, simulations, seed) if simulations and degrees else (None, None)
    ratio, why_not = _likelihood_ratio(fit, degrees)
    means = fit.fitted_counts[inside]
    cells = torch.minimum(means, sizes - means)[sizes > 0]
    return GoodnessOfFit(
        statistic,
        degrees,
        float(chdtrc(degrees, statistic)) if degrees else None,
        p,
        error,
        ratio,
        why_not,
        scale,
        scale * fit.standard_errors,
        float(cells.min()),
    )


def _inside(fit: WeightsFit) -> Tensor:
    """The strata in which more than one draw is possible."""
    several = (fit.group_sizes > 0).sum(-1) > 1
    total = fit.counts.sum(-1)
    return several & (total > 0) & (total < fit.group_sizes.sum(-1))


def _likelihood_ratio(fit: WeightsFit, degrees: int) -> tuple[LikelihoodRatio | None, str]:
    from scipy.special import chdtrc  # scipy takes long to import, and scipy.stats most

    # First see whether all strata have an estimate: that is fast.
    strata = []
    for index in _inside(fit).nonzero().squeeze(-1).tolist():
        present = fit.group_sizes[index] > 0
        sizes, counts = fit.group_sizes[index, present][None], fit.counts[index, present][None]
        names = [name for name, here in zip(fit.groups, present.tolist(), strict=True) if here]
        try:
            check_finite(sizes, counts, names)
        except NoFiniteEstimateError:
            return None, f"stratum {index} alone has no finite estimate"
        strata.append((sizes, counts))
    alone = sum(float(maximize(fit.urn_law, *stratum)[1].value) for stratum in strata)
    statistic = max(0.0, 2 * (alone - float(fit.log_likelihood)))
    p = float(chdtrc(degrees, statistic)) if degrees else None
    return LikelihoodRatio(statistic, degrees, p), ""


def _simulated(fit: WeightsFit, simulations: int, seed: int) -> tuple[float, float]:
    law, theta, groups = fit.urn_law, fit.log_weights, len(fit.groups)
    # For the observed table (the first) and each simulated one: the statistic, and what the best
    # weights of the table remove from it.
    raw = theta.new_zeros(simulations + 1)
    slope_times_rest = theta.new_zeros(simulations + 1, groups)
    information = theta.new_zeros(groups, groups)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in blocks(len(fit.counts), groups * (groups + simulations)):
            sizes, counts = fit.group_sizes[part], fit.counts[part]
            total = counts.sum(-1)
            state = law.solve(theta.expand(sizes.shape), sizes, total)
            drawn = law.sample(state, Size((simulations,)), Bounds(sizes, total))
            white = whitening(law, state)
            rest = torch.cat([counts[None], drawn]) - law.mean(state)
            # (strata, G, tables) and (strata, G, G)
            rest = white @ rest.permute(1, 2, 0)
            inside = state.urn.interior[..., None, None]
            slope = law.moments(theta.expand(sizes.shape), sizes, total).slope
            slope = white @ torch.where(inside, slope, 0.0)
            raw += rest.square().sum((0, 1))
            slope_times_rest += torch.einsum("sij,sit->tj", slope, rest)
            information += torch.einsum("sij,sik->jk", slope, slope)
    removed = slope_times_rest @ torch.linalg.pinv(information, hermitian=True)
    statistic = raw - (removed * slope_times_rest).sum(-1)
    # Tables that are equally far must count as such, in spite of rounding.
    observed = statistic[0] - 1e-7 * (1 + statistic[0].abs())
    p = float((statistic >= observed).double().mean())
    return p, (p * (1 - p) / simulations) ** 0.5


def _p(value: float) -> str:
    return f"p = {value:.3g}" if value >= 1e-300 else "p < 1e-300"


def _degrees(number: int) -> str:
    return f"{number} degree{'' if number == 1 else 's'} of freedom"
