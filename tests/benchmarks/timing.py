# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

import statistics
import time
from collections.abc import Callable, Sequence


def interleaved(functions: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Median milliseconds of each function, all of them called in turn so that load hits alike."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        for _ in range(3):
            function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, record in zip(functions, times, strict=True):
            begin = time.perf_counter()
            function()
            record.append(1e3 * (time.perf_counter() - begin))
    return [statistics.median(record) for record in times]
