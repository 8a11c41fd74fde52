# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How much memory gradients, marginals, covariances and likelihoods need."""

import weakref

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyro_hypergeo import (
    FisherHypergeometric,
    Hypergeometric,
    WalleniusHypergeometric,
    fit_weights,
)
from pyro_hypergeo.infer import maximum
from pyro_hypergeo.ops import FISHER


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


class Written(TorchDispatchMode):
    """Counts operations, and the bytes that they write in all."""

    operations = bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.operations += 1
        tensors = [x for x in tree_leaves(out) if torch.is_tensor(x)]
        self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return out


# 50,000 of 10^6 elements. All that is ever written bounds the memory from above.
MILLION = [(300_000, 700_000), (700_000, 300_000), (10_000, 990_000)]


@pytest.mark.parametrize("sizes", MILLION)
@pytest.mark.parametrize("group", [0, 1])
def test_marginal_and_tail_of_a_large_urn(sizes, group):
    with Written() as written:
        marginal = FisherHypergeometric(50_000, sizes, weights=[1.0, 2.0]).marginal(group)
        tail = marginal.sf(marginal.mean)
    assert 0.4 < tail < 0.6
    assert written.bytes < 100e6
    assert written.operations < 1000


def test_tail_of_the_central_law_needs_no_table():
    with Written() as written:
        tail = Hypergeometric(50_000, 300_000, 10**6).sf(15_000)
    assert 0.4 < tail < 0.6
    assert written.bytes < 1e6


def test_batch_of_unequal_urns_costs_their_counts():
    sizes = torch.tensor([[2000.0, 9000.0]] + [[10.0, 9000.0]] * 50)

    def written(law, sizes):
        with Written() as result:
            law(3000, sizes, weights=[1.5, 1.0]).marginal(0).sf(4)
        return result.bytes

    # The result, and the sums over it. A kernel over the whole table writes 100 times more.
    table = 30 * 8 * 2001 * len(sizes)
    for law in (FisherHypergeometric, WalleniusHypergeometric):
        loop = sum(written(law, urn) for urn in sizes)
        assert written(law, sizes) < loop + table


class _Peak(TorchDispatchMode):
    """The most bytes that tensors made under it hold at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known = set()

    def _forget(self, key, size):
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not torch.is_tensor(tensor):
                continue
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._known:
                self._known.add(key)
                self.now += size
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._forget, key, size)
        return out


def _peak(call):
    call()
    with _Peak() as peak:
        call()
    return peak.most


def test_the_likelihood_forms_no_covariance_of_each_stratum():
    strata, groups = 40, 300
    sizes = torch.full((strata, groups), 20.0)
    counts = torch.full((strata, groups), 7.0)
    theta = torch.linspace(-1, 1, groups, dtype=torch.float64)
    most = _peak(lambda: FISHER.log_likelihood(theta, sizes, counts))
    nodes = 21
    assert most < 8 * (15 * strata * groups * nodes + 4 * groups**2)
    # The covariances of all strata would be as many numbers as that twice.
    assert most < 8 * strata * groups**2


@pytest.mark.parametrize("ask", ["fitted_counts", "residuals"])
def test_the_fit_needs_memory_for_a_block_of_strata(ask, monkeypatch):
    groups = 30
    monkeypatch.setattr(maximum, "_CELLS", 20 * groups**2)

    def peak(strata):
        sizes = torch.full((strata, groups), 20.0)
        counts = torch.full((strata, groups), 7.0)
        counts[0] = torch.arange(groups) % 19 + 1
        return _peak(lambda: getattr(fit_weights(sizes, counts), ask))

    more = peak(400) - peak(100)
    # Beside the blocks there are some tables (strata, G), but none over nodes or pairs of groups.
    assert more < 8 * 12 * 300 * groups


def test_a_covariance_holds_few_copies_of_itself():
    batch, groups = 3, 400
    sizes, theta = torch.full((batch, groups), 20.0), torch.randn(batch, groups)
    state = FISHER.solve(theta, sizes, torch.tensor(3000.0))
    most = _peak(lambda: FISHER.covariance(state))
    tables = 15 * batch * groups * 21
    assert most < 8 * (1.5 * batch * groups**2 + tables)
