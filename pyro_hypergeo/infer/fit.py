# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Maximum-likelihood weights from counts."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

import torch
from torch import Tensor

from ..distributions.arrays import Numbers, as_tensor, check_labels
from ..distributions.laws import law_of
from ..ops.errors import check
from ..ops.law import Law
from .maximum import check_finite, log_probability, maximize, relative_to
from .weights_fit import WeightsFit


def fit_weights(
    group_sizes: Numbers,
    counts: Numbers,
    *,
    groups: Sequence[str] | None = None,
    reference: int | str | None = None,
    law: str | Law = "fisher",
) -> WeightsFit:
    r"""
    Maximum-likelihood weights of groups, from the sizes and the drawn counts.

    Each row is a stratum: an urn of its own. All strata have the same weights. The totals are taken
    as given, so this is conditional maximum likelihood. In each stratum the counts have the
    probability

    .. math::

        p(x) \propto \prod_i \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad \sum_i x_i = n ,

    or that of another law. Under Fisher's and Wallenius' law the log-likelihood is concave in
    :math:`\theta`. Newton's method with the exact second derivative needs only a few steps. Cost of
    a step: O(strata G^2 + G^3). The strata are summed in blocks, so memory is O(G^2).

    Example::

        >>> from pyro_hypergeo import fit_weights
        >>> fit = fit_weights([[10, 20], [30, 10]], [[6, 4], [20, 4]], reference=0)
        >>> fit.log_weights
        tensor([ 0.0000, -1.3654], dtype=torch.float64)
        >>> fit.standard_errors
        tensor([0.0000, 0.5546], dtype=torch.float64)
        >>> fit.goodness_of_fit().p_value
        0.5584

    **References:**

    [1] McCullagh, P. and Nelder, J. A. (1989) "Generalized Linear Models", section 7.3.

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``; 0 if a stratum does not have
        the group. A list, a numpy array, a tensor, or a DataFrame whose columns are the groups.
    :param counts: drawn counts, of the same shape.
    :param groups: names of the groups, G different texts; if not given, the columns of a DataFrame,
        or ``"0"``, ``"1"``, ....
    :param reference: index or name of the group whose log-weight is 0; if not given, the
        log-weights have mean 0.
    :type reference: int or str
    :param law: ``"fisher"`` (each element is taken or left), ``"wallenius"`` (elements are taken
        one after the other), or a :class:`~pyro_hypergeo.ops.Law`.
    :type law: str or Law
    :return: a :class:`WeightsFit`.
    :raises ValueError: if ``law`` is unknown; if shapes differ; if there is one group only, or no
        group ``reference``; if ``groups`` are not G different names; if a count is negative, not an
        integer, or larger than its group; or if two DataFrames do not have the same columns and
        rows in the same order.
    :raises NoFiniteEstimateError: if the weight of a group has no finite estimate; it names the
        groups.
    :raises RuntimeError: if Newton's method does not converge in 100 steps.
    """
    law = law_of(law)
    sizes, drawn = checked_strata(group_sizes, counts)
    if sizes.shape[-1] == 1:
        raise ValueError(
            "Expected `group_sizes` of at least two groups, since only ratios of weights have a "
            f"meaning, but got {tuple(sizes.shape)}."
        )
    names = _names(groups, group_sizes, sizes.shape[-1])
    base = None if reference is None else _index(reference, names)
    check_finite(sizes, drawn, names)
    theta, likelihood, iterations = maximize(law, sizes, drawn)
    equal = log_probability(law, torch.zeros_like(theta), sizes, drawn)
    relative, covariance, errors = relative_to(theta, likelihood.information, base)
    return WeightsFit(
        relative,
        covariance,
        errors,
        likelihood.value,
        equal,
        iterations,
        law.name,
        names,
        base,
        sizes,
        drawn,
        law,
    )


def checked_strata(group_sizes: Numbers, counts: Numbers) -> tuple[Tensor, Tensor]:
    """Sizes and counts as float64 of shape ``(strata, G)``, or an error that says what is wrong.

    >>> from pyro_hypergeo.infer.fit import checked_strata
    >>> checked_strata([5, 4], [2, 1])[0]
    tensor([[5., 4.]], dtype=torch.float64)

    :param group_sizes: sizes, of shape ``(G,)`` or ``(strata, G)``.
    :param counts: drawn counts, of the same shape.
    :raises ValueError: if shapes differ, or if a count is negative, not an integer, or larger than
        its group; or if two DataFrames do not have the same columns and rows in the same order.
    """
    check_labels(group_sizes=group_sizes, counts=counts)
    sizes, drawn = _as_strata("group_sizes", group_sizes), _as_strata("counts", counts)
    if sizes.shape != drawn.shape:
        raise ValueError(
            "Expected `group_sizes` and `counts` of the same shape, but got "
            f"{tuple(sizes.shape)} and {tuple(drawn.shape)}."
        )
    if not (drawn <= sizes).all():
        stratum, group = (drawn > sizes).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `counts` of shape {tuple(drawn.shape)} to be at most the `group_sizes`, but "
            f"found {drawn[stratum, group]:g} of {sizes[stratum, group]:g} at index "
            f"({stratum}, {group})."
        )
    return sizes, drawn


def _names(groups: Sequence[str] | None, group_sizes: Numbers, number: int) -> tuple[str, ...]:
    if groups is None and hasattr(group_sizes, "columns"):
        groups = [str(name) for name in group_sizes.columns]
    if groups is None:
        return tuple(str(index) for index in range(number))
    names = tuple(groups)
    if isinstance(groups, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"Expected `groups` to be {number} texts, but got {groups!r}.")
    if len(names) != number:
        raise ValueError(
            f"Expected `groups` to have {number} names, one for each column of `group_sizes`, but "
            f"got {len(names)}: {list(names)}."
        )
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise ValueError(f"Expected `groups` to be different names, but {twice[0]!r} is repeated.")
    return names


def _index(reference: int | str, names: tuple[str, ...]) -> int:
    if isinstance(reference, str):
        if reference not in names:
            raise ValueError(
                f"Expected `reference` to be one of {list(names)}, but got {reference!r}."
            )
        return names.index(reference)
    # An index of numpy or torch is an integer too.
    if not isinstance(reference, SupportsIndex) or isinstance(reference, bool):
        raise ValueError(f"Expected `reference` to be an index or a name, but got {reference!r}.")
    reference = index(reference)
    if not -len(names) <= reference < len(names):
        raise ValueError(
            f"Expected `reference` between {-len(names)} and {len(names) - 1}, but got {reference}."
        )
    return reference % len(names)


def _as_strata(name: str, values: Numbers) -> Tensor:
    table = as_tensor(values, name=name).detach().double()
    if table.dim() == 1:
        table = table.unsqueeze(0)
    if table.dim() != 2 or table.numel() == 0:
        raise ValueError(
            f"Expected `{name}` of shape (G,) or (strata, G), not empty, "
            f"but got {tuple(table.shape)}."
        )
    check(name, table, (table >= 0) & (table % 1 == 0), "integers that are not negative")
    return table
