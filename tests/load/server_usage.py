"""What the server takes while people use it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import psutil

_SAMPLE_SECONDS = 2.0


@dataclass
class Watch:
    """One process. `memory` holds (seconds of the clock perf_counter, resident bytes), one every two seconds."""

    pid: int
    memory: list[tuple[float, int]] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has taken so far."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    async def memory_samples(self) -> None:
        """Take samples of the memory until cancelled."""
        process = psutil.Process(self.pid)
        while True:
            self.memory.append((time.perf_counter(), process.memory_info().rss))
            await asyncio.sleep(_SAMPLE_SECONDS)
