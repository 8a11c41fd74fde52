# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The mode by exchanges in urns where one exchange gains very little."""

import torch

from pyro_hypergeo.ops import wallenius_log_prob, wallenius_mode


def test_no_count_is_more_probable_by_however_little() -> None:
    sizes = torch.tensor([900.0, 700.0])
    log_weights = torch.tensor([0.0, 1.3])
    for total in torch.arange(300.0, 1500.0, 60.0):
        first = torch.arange(float(max(0, total - 700)), float(min(900, total)) + 1)
        support = torch.stack([first, total - first], -1)
        best = wallenius_log_prob(support, log_weights, sizes, total).max()
        mode = wallenius_mode(log_weights, sizes, total)
        found = wallenius_log_prob(mode, log_weights, sizes, total)
        assert best - found < 1e-10
