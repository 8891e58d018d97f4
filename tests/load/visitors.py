"""What people do on the pages, a few seconds of thought between two things."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.load.browser import Browser


@dataclass
class Visitor:
    """One person: goes from page to page until the time is over. `taken` are (page, action, seconds)."""

    browser: Browser
    dice: random.Random
    live: str
    finished: list[str]
    think_seconds: tuple[float, float] = (1.5, 5.0)
    taken: list[tuple[str, str, float]] = field(default_factory=list)
    _page: str = ""

    async def wander(self, until: float) -> None:
        """Visit all pages in an order of one's own, again and again, until the clock (perf_counter) says `until`."""
        while True:
            for page in self.dice.sample(list(PAGES), len(PAGES)):
                if time.perf_counter() > until:
                    return
                await PAGES[page](self)

    async def go(self, page: str, query: str = "") -> None:
        """Open a page and look at it."""
        self._page = page or "train"
        self.taken.append((self._page, "open", await self.browser.go(page, query)))
        await self._look()

    async def use(self, key: str, value: Any = None) -> None:
        """Use a widget and look at what came of it; what is not there (a run may have ended) is left."""
        found = next((name for name in self.browser.widgets if name == key or name.startswith(key + "_")), None)
        if found is not None:
            self.taken.append((self._page, key, await self.browser.use(found, value)))
            await self._look()

    async def _look(self) -> None:
        await self.browser.pictures()
        await asyncio.sleep(self.dice.uniform(*self.think_seconds))

    def _any_run(self) -> str:
        return self.dice.choice(self.finished)


async def _train(visitor: Visitor) -> None:
    await visitor.go("", f"run={visitor.live}")
    await visitor.use("dropout", visitor.dice.choice([0.1, 0.2, 0.4, 0.6]))
    await visitor.use("ghost", visitor.dice.randint(1, 20))
    await visitor.use("plan_panel", True)
    await visitor.use("augmentation", visitor.dice.choice([0.0, 0.5, 1.0, 1.5]))


async def _other_run(visitor: Visitor) -> None:
    await visitor.go("", f"run={visitor._any_run()}")
    await visitor.use("export_panel", True)
    await visitor.use("preview_panel", True)
    await visitor.use("preview_draw")


async def _classify(visitor: Visitor) -> None:
    await visitor.go("classify")
    await visitor.use("others")
    await visitor.use("view", 1)


async def _explore(visitor: Visitor) -> None:
    await visitor.go("explore")
    await visitor.use("filter", f"dropout={visitor.dice.choice(['0.1', '0.2', '0.3'])}")
    await visitor.use("runs", sorted(visitor.dice.sample(range(20), 3)))
    await visitor.use("axis", 1)
    await visitor.use("section", 2)  # Search


async def _teach(visitor: Visitor) -> None:
    await visitor.go("teach")


async def _evaluate(visitor: Visitor) -> None:
    await visitor.go("evaluate", f"run={visitor._any_run()}")
    await visitor.use(visitor.dice.choice(["classes", "extremes", "sure", "story"]), True)
    await visitor.use("evaluated", visitor.dice.randint(0, 50))


async def _learn(visitor: Visitor) -> None:
    await visitor.go("learn")
    await visitor.use("lesson", visitor.dice.randint(0, 5))
    await visitor.use("guess", visitor.dice.randint(0, 1))


PAGES: dict[str, Callable[[Visitor], Awaitable[None]]] = {
    "train": _train,
    "train, another run": _other_run,
    "classify": _classify,
    "explore": _explore,
    "teach": _teach,
    "evaluate": _evaluate,
    "learn": _learn,
}
"""What a visitor does on each page."""
