# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Posterior draws as a file that ArviZ reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from .extras import require
from .model import urns_of
from .report import Report
from .table import Table

# Numbers of log-probabilities that are computed at once.
_CELLS = 1_000_000


def require_arviz() -> None:
    """Asks for ArviZ, and so for all that writes its files."""
    for module in ("arviz", "xarray", "h5netcdf"):  # ArviZ 1 comes without the last
        require("--netcdf", module, "arviz")


def save_netcdf(report: Report, draws: Tensor, path: Path) -> None:
    """Writes draws of the log-weights, of shape (chains, draws, G), for ArviZ to read.

    The groups are those of InferenceData: the posterior, the log-likelihood of each stratum under
    each draw, the table and, from NUTS, which draws have diverged.
    """
    # ArviZ's own builders changed their arguments and their result in version 1; what both read
    # and write is a tree of xarray's.
    import xarray

    sets = {
        name: xarray.Dataset(
            {key: (dims, value.numpy()) for key, (dims, value) in variables.items()},
            coords=_coordinates(report.table, draws, variables),
            attrs={"inference_library": "pyro", "inference_library_version": pyro.__version__},
        )
        for name, variables in _groups(report, draws).items()
    }
    xarray.DataTree.from_dict(sets).to_netcdf(path, engine="h5netcdf")


def _groups(report: Report, draws: Tensor) -> dict[str, dict[str, tuple[list[str], Tensor]]]:
    table, diverging = report.table, report.posterior.diverging
    draw, cell = ["chain", "draw"], ["stratum", "group"]
    relative = draws - draws[..., [table.groups.index(report.reference)]]
    groups = {
        "posterior": {
            "log_weights": ([*draw, "group"], draws),
            "relative_log_weights": ([*draw, "group"], relative),
        },
        "log_likelihood": {"drawn": ([*draw, "stratum"], _log_likelihood(report, draws))},
        "observed_data": {"drawn": (cell, table.counts)},
        "constant_data": {"size": (cell, table.sizes)},
    }
    if diverging is not None:
        groups["sample_stats"] = {"diverging": (draw, diverging)}
    return groups


def _log_likelihood(report: Report, draws: Tensor) -> Tensor:
    table = report.table
    rows = draws.flatten(0, 1).unsqueeze(-2).split(max(1, _CELLS // table.sizes.numel()))
    parts = [urns_of(table, row, report.law).log_prob(table.counts) for row in rows]
    return torch.cat(parts).unflatten(0, draws.shape[:2])


def _coordinates(table: Table, draws: Tensor, variables: dict[str, Any]) -> dict[str, Any]:
    every = {
        "chain": range(draws.shape[0]),
        "draw": range(draws.shape[1]),
        "stratum": range(len(table.sizes)),
        "group": table.groups,
    }
    used = {dim for dims, _ in variables.values() for dim in dims}
    return {name: list(values) for name, values in every.items() if name in used}
