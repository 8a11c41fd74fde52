# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Counts as one-hot vectors and as masks, with gradients."""

import pytest
import torch

from pyro_hypergeo import counts_to_mask, counts_to_one_hot


def test_one_hot_of_integers():
    counts = torch.tensor([[0.0, 3.0], [2.0, 1.0]])
    expected = torch.nn.functional.one_hot(counts.long(), 4).double()
    assert torch.equal(counts_to_one_hot(counts, 3), expected)


def test_mask_of_integers():
    counts = torch.tensor([0.0, 3.0, 2.0])
    expected = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 1, 0]])
    assert torch.equal(counts_to_mask(counts, 3), expected)


def test_soft_counts_are_shared_between_neighbours():
    counts = 5 * torch.rand(200)
    shares = counts_to_one_hot(counts, 5)
    assert (shares >= 0).all()
    assert (shares > 0).sum(-1).max() == 2
    torch.testing.assert_close(shares.sum(-1), torch.ones(200))
    torch.testing.assert_close(shares @ torch.arange(6.0), counts)
    mask = counts_to_mask(counts, 5)
    torch.testing.assert_close(mask.sum(-1), counts)
    torch.testing.assert_close(mask, (counts.unsqueeze(-1) - torch.arange(5.0)).clamp(0, 1))


@pytest.mark.parametrize(
    "count, slope",
    [
        (0.0, [-1.0, 1.0, 0.0, 0.0]),
        (1.0, [-0.5, 0.0, 0.5, 0.0]),
        (1.3, [0.0, -1.0, 1.0, 0.0]),
        (3.0, [0.0, 0.0, -1.0, 1.0]),
    ],
)
def test_slopes(count, slope):
    jacobian = torch.autograd.functional.jacobian(
        lambda x: counts_to_one_hot(x, 3), torch.tensor(count)
    )
    torch.testing.assert_close(jacobian, torch.tensor(slope))
    of_mask = torch.autograd.functional.jacobian(
        lambda x: counts_to_mask(x, 3), torch.tensor(count)
    )
    torch.testing.assert_close(of_mask, torch.tensor(slope).flip(0).cumsum(0).flip(0)[1:])
    assert of_mask.sum() == pytest.approx(1.0)  # the places filled are the count


@pytest.mark.parametrize("encode", [counts_to_one_hot, counts_to_mask])
def test_dtype_and_bad_size(encode):
    assert encode(torch.tensor([1.0], dtype=torch.float32), 2).dtype == torch.float32
    with pytest.raises(ValueError, match="`size` to be at least 1, but got 0"):
        encode(torch.tensor([0.0]), 0)
