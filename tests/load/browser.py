"""A browser session without a browser: Streamlit's own messages over a real WebSocket, and what a reader would see."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_SECONDS = 60.0
_LARGEST_MESSAGE = 2**28
_WHOLE, _BROKEN, _EARLY, _FRAGMENT = 0, 1, 2, 3  # ForwardMsg.ScriptFinishedStatus


@dataclass(frozen=True)
class Widget:
    """Something on the page that can be used: its message, and the fragment it belongs to ("" for the page)."""

    id: str
    kind: str
    content: Any
    fragment: str


@dataclass
class Browser:
    """One tab. `problems` are what no reader should see; `polls` are seconds that each poll of a live part took.

    `messages` and `received_bytes` count what the server sent.
    """

    address: str  # host:port
    problems: list[str] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    messages: int = 0
    received_bytes: int = 0
    widgets: dict[str, Widget] = field(default_factory=dict)  # by the key that the page gave
    elements: int = 0
    query: str = ""
    _pages: dict[str, str] = field(default_factory=dict)
    _page: str = ""
    _states: dict[str, WidgetState] = field(default_factory=dict)
    _timers: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _asked: dict[str, float] = field(default_factory=dict)
    _running: tuple[str, ...] = ()
    _awaited: str | None = None
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _pictures: set[str] = field(default_factory=set)

    async def __aenter__(self) -> Browser:
        """Connect and load the first page."""
        self._socket: ClientConnection = await connect(
            f"ws://{self.address}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            origin=f"http://{self.address}",  # type: ignore[arg-type]
            max_size=_LARGEST_MESSAGE,
            ping_interval=None,
        )
        self._reader = asyncio.create_task(self._read())
        await self._rerun("", "first page")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the tab."""
        self._stop_timers()
        self._reader.cancel()
        await self._socket.close()

    async def go(self, page: str, query: str = "") -> float:
        """Open the page whose address is `page` ("" for the first one); return the seconds until it is whole."""
        self._page, self.query = self._pages[page], query
        return await self._rerun("", f"page {page or 'train'}")

    async def use(self, key: str, value: Any = None) -> float:
        """Use the widget called `key` as a person would; return the seconds until the page is whole again.

        `value` is a number for a slider, text for a text field, the position of an option (modulo their number) or row,
        whether it is open or on; a button needs none. Raises KeyError if the page has no such widget.
        """
        widget = self.widgets[key]
        state = _state(widget, value)
        passing = state.WhichOneof("value") == "trigger_value"
        if not passing:
            self._states[widget.id] = state
        return await self._rerun(widget.fragment, key, [state] if passing else [])

    async def pictures(self) -> None:
        """Fetch the pictures that the page shows, as a browser does."""
        for address in sorted(self._pictures):
            try:
                await asyncio.to_thread(_fetch, f"http://{self.address}{address}")
            except urllib.error.URLError as error:
                self.problems.append(f"picture {address}: {error}")
        self._pictures.clear()

    async def _rerun(self, fragment: str, what: str, passing: Iterable[WidgetState] = ()) -> float:
        self._awaited = fragment
        self._done.clear()
        start = time.perf_counter()
        await self._ask(fragment, passing)
        try:
            await asyncio.wait_for(self._done.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            self.problems.append(f"no answer within {PATIENCE_SECONDS:.0f} s: {what}")
        return time.perf_counter() - start

    async def _ask(self, fragment: str, passing: Iterable[WidgetState] = (), by_timer: bool = False) -> None:
        message = BackMsg()
        script = message.rerun_script
        script.query_string, script.page_script_hash = self.query, self._page
        script.fragment_id, script.is_auto_rerun = fragment, by_timer
        script.widget_states.widgets.extend([*self._states.values(), *passing])
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for content in self._socket:
                self.messages += 1
                self.received_bytes += len(content)
                message = ForwardMsg()
                message.ParseFromString(content)
                self._take(message)
        self.problems.append("the server closed the connection")

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._running = tuple(message.metadata.run.fragment_ids)
            if not self._running:
                self._stop_timers()
                self.widgets.clear()
                self._pictures.clear()
                self.elements = 0
        elif kind == "navigation":
            self._pages = {
                "" if page.is_default else page.url_pathname: page.page_script_hash
                for page in message.navigation.app_pages
            }
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta":
            self._draw(message.delta)
        elif kind == "auto_rerun":
            name, interval = message.auto_rerun.fragment_id, message.auto_rerun.interval
            if name not in self._timers:
                self._timers[name] = asyncio.create_task(self._poll(name, interval))
        elif kind == "stop_auto_rerun":
            self._stop_timers([message.stop_auto_rerun.fragment_id])
        elif kind == "script_finished":
            self._finish(message.script_finished)
        elif kind == "page_not_found":
            self.problems.append(f"page not found: {message.page_not_found.page_name}")

    def _draw(self, delta: Any) -> None:
        kind = delta.WhichOneof("type")
        if kind == "add_block":
            block = delta.add_block
            if block.WhichOneof("type") == "expandable" and block.expandable.id:
                self._know(block.expandable.id, "expandable", block.expandable, delta.fragment_id)
            return
        if kind != "new_element":
            return
        self.elements += 1
        name = delta.new_element.WhichOneof("type")
        content = getattr(delta.new_element, name) if name else None
        if name == "exception":
            self.problems.append(f"exception: {content.type}: {content.message[:200]}")
        elif name == "alert" and content.format == content.ERROR:
            self.problems.append(f"error shown: {content.body[:200]}")
        elif name == "imgs":
            self._pictures |= {image.url for image in content.imgs if image.url.startswith("/")}
        elif getattr(content, "id", ""):
            self._know(content.id, str(name), content, delta.fragment_id)

    def _know(self, id_: str, kind: str, content: Any, fragment: str) -> None:
        self.widgets[id_.split("-", 2)[-1]] = Widget(id_, kind, content, fragment)

    def _finish(self, status: int) -> None:
        if status == _BROKEN:
            self.problems.append("the script did not compile")
        if status == _EARLY:  # another run follows at once
            return
        for name in self._running if status == _FRAGMENT else list(self._asked):
            if name in self._asked:
                self.polls.append(time.perf_counter() - self._asked.pop(name))
        if status in (_WHOLE, _BROKEN) or self._awaited in self._running:
            self._done.set()

    async def _poll(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self._asked.setdefault(fragment, time.perf_counter())
            await self._ask(fragment, by_timer=True)

    def _stop_timers(self, names: Iterable[str] | None = None) -> None:
        for name in list(self._timers) if names is None else names:
            if name in self._timers:
                self._timers.pop(name).cancel()
            self._asked.pop(name, None)


def _state(widget: Widget, value: Any) -> WidgetState:
    """Return what a browser sends when `widget` is used."""
    state = WidgetState(id=widget.id)
    match widget.kind:
        case "button":
            state.trigger_value = True
        case "checkbox" | "expandable":
            state.bool_value = bool(value)
        case "slider":
            state.double_array_value.data[:] = [value]
        case "text_input":
            state.string_value = value
        case "selectbox" | "radio":
            state.string_value = widget.content.options[value % len(widget.content.options)]
        case "button_group":
            state.string_array_value.data[:] = [widget.content.options[value].content]
        case "dataframe":
            state.string_value = json.dumps({"selection": {"rows": value, "columns": [], "cells": []}})
        case _:
            raise KeyError(widget.kind)
    return state


def _fetch(address: str) -> None:
    with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
        answer.read()
