# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Writes posterior draws to a file that ArviZ reads."""

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

# The log-likelihood is computed for so many cells of the table at once, to bound the memory.
_CELLS = 1_000_000


def require_arviz() -> None:
    """Check that ArviZ and the libraries that write its files are installed.

    :raises CommandError: if not.
    """
    for module in ("arviz", "xarray", "h5netcdf"):  # ArviZ 1 comes without the last
        require("--netcdf", module, "arviz")


def save_netcdf(report: Report, draws: Tensor, path: Path) -> None:
    """Write draws of the log-weights, of shape (chains, draws, G), for ArviZ.

    The file has the groups of ArviZ's InferenceData: the posterior, the log-likelihood of each
    stratum for each draw, and the table. After NUTS it also says which draws have diverged.
    """
    # Version 1 of ArviZ changed the arguments and results of its own functions. A tree of xarray
    # works with both versions.
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
