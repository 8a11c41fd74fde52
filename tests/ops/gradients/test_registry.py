# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

import torch

from pyro_hypergeo import ops
from pyro_hypergeo.ops.gradients.affine import affine_movement
from pyro_hypergeo.ops.gradients.fisher_affine import fisher_affine_movement


def test_a_law_has_the_most_special_movement_of_a_name() -> None:
    assert ops.estimators(ops.FISHER)["affine"] is fisher_affine_movement
    assert ops.estimators(ops.CENTRAL)["affine"] is fisher_affine_movement
    assert ops.estimators(ops.WALLENIUS)["affine"] is affine_movement


def test_the_special_movement_is_the_general_one_without_a_matrix() -> None:
    theta = torch.randn(5, 4, requires_grad=True)
    sizes, total = torch.tensor([6.0, 4.0, 3.0, 9.0]), torch.tensor(10.0)
    counts = ops.sample(theta, sizes, total, torch.Size([3]))
    state, bounds = ops.FISHER.solve(theta, sizes, total), ops.Bounds(sizes, total)
    slopes = []
    for movement in (affine_movement, fisher_affine_movement):
        moved = movement(counts, ops.FISHER, state, bounds, None)
        moved = counts + moved - moved.detach()
        slopes += torch.autograd.grad(moved.pow(3).sum(), theta, retain_graph=True)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-6, atol=1e-7)
