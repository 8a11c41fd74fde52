# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 07_scaling: data, timing, and training in several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
import torch.distributed
import torch.multiprocessing
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pyro_hypergeo import FisherHypergeometric, ZeroSumNormal


def milliseconds(step: Callable[[], Any], repetitions: int = 5) -> float:
    """The median time of a call on the processor, in milliseconds."""
    step()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return 1e3 * sorted(times)[len(times) // 2]


def many_strata(strata: int, true_log_weights: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Sizes and drawn counts of small urns with the same weights."""
    pyro.set_rng_seed(seed)
    sizes = torch.randint(1, 12, (strata, len(true_log_weights))).double()
    totals = (sizes.sum(-1) * (0.2 + 0.6 * torch.rand(strata))).round()
    return sizes, FisherHypergeometric(totals, sizes, log_weights=true_log_weights).sample()


def matched_sets(
    strata: int, rows: int, drawn: int, coefficients: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one element each: covariates, who is drawn, and the strata."""
    pyro.set_rng_seed(seed)
    design = torch.randn(strata, rows, len(coefficients))
    urns = FisherHypergeometric(drawn, torch.ones(rows), log_weights=design @ coefficients)
    labels = torch.arange(strata).repeat_interleave(rows)
    return design.flatten(0, 1), urns.sample().flatten(), labels


def weigh(sizes: Tensor, counts: Tensor, subsample_size: int | None, all_strata: int) -> None:
    """The model: strata under a plate. If they are a part of all strata, they are scaled up."""
    log_weights = pyro.sample("log_weights", ZeroSumNormal(sizes.new_tensor(3.0), sizes.shape[-1]))
    with pyro.poutine.scale(scale=all_strata / len(sizes)):
        with pyro.plate("strata", len(sizes), subsample_size=subsample_size) as index:
            urns = FisherHypergeometric(
                counts[index].sum(-1), sizes[index], log_weights=log_weights
            )
            pyro.sample("drawn", urns, obs=counts[index])


def train_in_parallel(rank: int, processes: int, folder: str, steps: int, batch: int) -> None:
    """Train in one of several processes. Each has its part of the strata in ``table.pt``.

    The first one stores its time on the processor.
    """
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{processes}", rank=rank, world_size=processes
    )
    sizes, counts = torch.load(Path(folder) / "table.pt")
    everything = len(sizes)
    sizes, counts = sizes[rank::processes], counts[rank::processes]
    pyro.set_rng_seed(0)  # the same start in all processes; below, other subsamples
    with pyro.settings.context(module_local_params=True):
        guide = AutoNormal(weigh)
        options = (sizes, counts, batch // processes, everything)
        guide(*options)
        pyro.set_rng_seed(rank)
        loss = DistributedDataParallel(Trace_ELBO()(weigh, guide))
        optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        start = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            loss(*options).backward()
            optimizer.step()
            schedule.step()
        seconds = time.process_time() - start
        if rank == 0:
            result = {"median": guide.median()["log_weights"], "seconds": seconds}
            torch.save(result, Path(folder) / f"result-{processes}.pt")
    torch.distributed.destroy_process_group()


def run_in_parallel(processes: int, folder: str, steps: int, batch: int) -> dict[str, Any]:
    """Train with several processes, and return the result of the first one."""
    # A thread of DistributedDataParallel lives longer than `destroy_process_group`. A spawned
    # process shuts its interpreter down while this thread may still free a gradient. So every sixth
    # run aborted. A process of a fork server ends without this shutdown.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    torch.multiprocessing.start_processes(
        train_in_parallel, (processes, folder, steps, batch), processes, start_method=method
    )
    return torch.load(Path(folder) / f"result-{processes}.pt")
