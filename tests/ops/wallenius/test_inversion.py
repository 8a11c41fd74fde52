# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Log-weights from means under Wallenius' law."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pyro_hypergeo import WalleniusHypergeometric
from pyro_hypergeo.ops import wallenius_log_weights_from_mean, wallenius_mean


@pytest.mark.parametrize(
    ("mean", "sizes"),
    [
        ([1.5, 2.5], [5, 5]),
        ([1e-10, 5 - 1e-10], [5, 6]),
        ([5 - 1e-9, 3 + 1e-9], [5, 6]),
        ([1e-6, 2.5, 4.5 - 1e-6], [10, 3, 8]),
        ([500.0, 300.0, 200.0], [501, 5000, 100_000]),
        ([0.0, 2.0, 3.0], [4, 5, 6]),
    ],
)
def test_the_weights_have_these_means(mean: list[float], sizes: list[int]) -> None:
    urn = WalleniusHypergeometric.from_mean(mean, sizes)
    assert isinstance(urn, WalleniusHypergeometric)
    torch.testing.assert_close(urn.mean, torch.tensor(mean), rtol=1e-5, atol=1e-13)
    torch.testing.assert_close(urn.mean, torch.tensor(mean), rtol=1e-10, atol=1e-12)
    present = urn.log_weights[torch.tensor(mean) > 0]
    assert present.mean().abs() < 1e-12


@pytest.mark.slow
def test_batches_and_gradients() -> None:
    theta = torch.tensor([[0.3, -0.5, 0.2], [1.0, 0.0, -1.0]])
    sizes, total = torch.tensor([4.0, 3.0, 6.0]), torch.tensor([5.0, 8.0])
    means = wallenius_mean(theta, sizes, total)
    torch.testing.assert_close(wallenius_log_weights_from_mean(means, sizes, total), theta)

    def contrast(free: Tensor) -> Tensor:
        # Means that keep their sum.
        mean = means + torch.cat([free, -free.sum(-1, keepdim=True)], -1)
        return wallenius_log_weights_from_mean(mean, sizes, total)

    assert gradcheck(contrast, torch.zeros(2, 2, requires_grad=True), atol=1e-6)


def test_means_that_no_weights_have() -> None:
    with pytest.raises(ValueError, match="`mean`"):
        WalleniusHypergeometric.from_mean([5.5, 1.5], [5, 6])
