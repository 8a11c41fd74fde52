# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How much memory the gradient of `log_prob` needs."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from pyro_hypergeo import FisherHypergeometric


def _saved_bytes(batch, groups, size):
    """Bytes of the distinct storages that log_prob keeps for its backward pass."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    sizes = torch.full((batch, groups), float(size))
    log_weights = torch.randn(batch, groups, requires_grad=True)
    total = (sizes.sum(-1) / 2).floor()
    counts = FisherHypergeometric(total, sizes, log_weights=log_weights.detach()).mode
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        FisherHypergeometric(total, sizes, log_weights=log_weights).log_prob(counts).sum()
    return sum(storages.values())


@pytest.mark.parametrize("size", [1, 10, 10**4, 10**7])
def test_backward_keeps_no_table_of_nodes(size):
    batch, groups = 32, 50
    # A table over the nodes alone would be 21 numbers an entry.
    assert _saved_bytes(batch, groups, size) <= 8 * 8 * batch * groups
