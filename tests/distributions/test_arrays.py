# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Arguments as lists, numpy arrays, DataFrames and Series."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
    ZeroSumNormal,
    compare_laws,
    fit_weights,
    sizes_from_mean,
)
from pyro_hypergeo.distributions.arrays import as_tensor

pd = pytest.importorskip("pandas")

SIZES, COUNTS, WEIGHTS = [[10, 20, 7], [30, 10, 8]], [[6, 4, 3], [20, 4, 1]], [1.0, 2.0, 0.5]
NAMES = ["a", "b", "c"]


def frame(values: Any) -> Any:
    return pd.DataFrame(values, columns=NAMES, index=["x", "y"])


def read_only(values: Any) -> Any:
    array = np.array(values)
    array.flags.writeable = False
    return array


FORMS: dict[str, Callable[[Any], Any]] = {
    "array": np.array,
    "array of floats": lambda values: np.array(values, dtype=float),
    "array of int32": lambda values: np.array(values, dtype=np.int32),
    "array of uint16": lambda values: np.array(values, dtype=np.uint16),
    "array of the other byte order": lambda values: np.array(values, dtype=">i4"),
    "array that is read-only": read_only,
    "array of objects": lambda values: np.array(values, dtype=object),
    "array backwards": lambda values: np.array(values)[::-1][::-1],
    "list of arrays": lambda values: [np.array(row) for row in values],
    "tensor": torch.tensor,
    "frame": frame,
    "frame of nullable integers": lambda values: frame(values).astype("Int64"),
    "frame of several types": lambda values: frame(values).astype({"a": float, "b": "Int32"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_fits_take_every_form(form: str) -> None:
    make = FORMS[form]
    expected = fit_weights(SIZES, COUNTS, reference=0)
    fit = fit_weights(make(SIZES), make(COUNTS), reference=0)
    assert torch.equal(fit.log_weights, expected.log_weights)
    comparison = compare_laws(make(SIZES), make(COUNTS))
    assert comparison.log_ratio == compare_laws(SIZES, COUNTS).log_ratio


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cls", [FisherHypergeometric, WalleniusHypergeometric])
def test_distributions_take_every_form(cls: Any, form: str) -> None:
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = cls([13, 25], SIZES, weights).log_prob(torch.tensor(COUNTS, dtype=torch.float64))
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    for total in ([13, 25], np.array([13, 25]), pd.Series([13, 25], index=["x", "y"])):
        for given in (weights, np.array(WEIGHTS), pd.Series(WEIGHTS, index=NAMES), WEIGHTS):
            urns = cls(total, FORMS[form](SIZES), given)
            torch.testing.assert_close(urns.log_prob(counts), expected, rtol=1e-6, atol=1e-6)


def test_other_entries() -> None:
    weights = pd.Series(WEIGHTS, index=NAMES)
    urn = FisherHypergeometric(6, [10, 20, 7], log_weights=np.log(WEIGHTS))
    assert urn.log_weights.dtype == torch.float64
    mean = pd.Series(urn.mean.numpy(), index=NAMES)
    back = FisherHypergeometric.from_mean(mean, pd.Series([10, 20, 7], index=NAMES))
    torch.testing.assert_close(back.mean, urn.mean)
    assert sizes_from_mean(mean, weights, 37).tolist() == [10, 20, 7]
    central = MultivariateHypergeometric(np.int64(6), np.array([10, 20, 7]))
    torch.testing.assert_close(central.mean, torch.tensor([60, 120, 42]) / 37)
    assert ZeroSumNormal(np.float64(2), 3).scale == 2


def test_labels_that_are_only_positions_say_nothing() -> None:
    expected = fit_weights(SIZES, COUNTS).log_weights
    assert torch.equal(fit_weights(frame(SIZES), pd.DataFrame(COUNTS)).log_weights, expected)


def test_an_array_is_copied() -> None:
    sizes = np.array([10, 20])
    urn = FisherHypergeometric(5, sizes, [1.0, 2.0])
    sizes[0] = 3
    assert urn.group_sizes.tolist() == [10, 20]


def test_a_tensor_is_not() -> None:
    tensor = torch.tensor([1.0, 2.0], requires_grad=True)
    assert as_tensor(tensor) is tensor


WRONG = {
    "another order of columns": (frame(SIZES), frame(COUNTS)[["b", "a", "c"]], "same groups"),
    "another order of rows": (frame(SIZES), frame(COUNTS).iloc[::-1], "same rows"),
    "a column of text": (
        frame(SIZES).assign(a="x"), frame(COUNTS), "`group_sizes` to be numbers, as a tensor",
    ),
    "a missing value": (
        frame(SIZES), frame(COUNTS).astype("Int64").replace(6, pd.NA), "`counts`",
    ),
    "not a number": (frame(SIZES), frame(COUNTS).replace(6, np.nan), "`counts` .* found nan"),
    "text": ([["a", "b"]], [[1, 2]], "`group_sizes` to be numbers, .* but got"),
    "no shape": (np.array(SIZES), [[1, 2, 3], [4]], "`counts` to be numbers"),
    "arrays of no shape": ([np.arange(3), np.arange(2)], COUNTS, "`group_sizes` to be numbers"),
    "complex numbers": (np.array(SIZES) + 0j, COUNTS, "`group_sizes` .* of type complex128"),
    "nothing": (None, COUNTS, "`group_sizes` to be numbers, .* but got None"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name: str) -> None:
    sizes, counts, says = WRONG[name]
    with pytest.raises(ValueError, match=says):
        fit_weights(sizes, counts)


def test_labels_of_weights() -> None:
    with pytest.raises(ValueError, match="`group_sizes` and `weights` to have the same groups"):
        FisherHypergeometric(5, frame(SIZES), pd.Series(WEIGHTS, index=["c", "b", "a"]))
    with pytest.raises(ValueError, match="`total_count` to be numbers, .* but got 'all'"):
        FisherHypergeometric("all", [3, 4], [1.0, 2.0])  # type: ignore[arg-type]
