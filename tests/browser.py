"""A headless Chromium that opens a page as a reader does, and notes what it fetches and what it complains of."""

from __future__ import annotations

import functools
import html
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["close", "new_page", "opened", "words"]

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first takes half the CPU

CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
_running = ExitStack()


@contextmanager
def opened(path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Yield the page (Playwright's) of an HTML file; at the end nothing may have been fetched and no error logged.

    Where there is no Chromium the test is skipped, and says so.
    """
    fetched: list[str] = []
    complaints: list[str] = []
    listeners = {
        "request": lambda request: fetched.append(request.url),
        "console": lambda message: complaints.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: complaints.append(str(error)),
    }
    page = _page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if dark else "light")
    try:
        for event, note in listeners.items():
            page.on(event, note)
        page.goto(path.resolve().as_uri())
        yield page
        others = [url for url in fetched if not url.startswith("data:") and url != path.resolve().as_uri()]
        assert not complaints, complaints
        assert not others, f"the page fetched {others}"
    finally:
        for event, note in listeners.items():
            page.remove_listener(event, note)
        page.goto("about:blank")


def words(path: Path) -> str:
    """Return a page's text, for which no browser is started."""
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def new_page() -> Any:
    """Return a page (Playwright's) of the one browser, which is started for the first.

    Where there is no Chromium the test is skipped, and says so.
    """
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: the page is not opened")
    return _chromium().new_page()


def close() -> None:
    """Close the browser, if there is one: Playwright's loop runs until then, and hinders asyncio."""
    _running.close()
    _page.cache_clear()
    _chromium.cache_clear()


@functools.cache
def _page() -> Any:
    """Return the one page of all that is `opened`: each other would be a process more, and takes half a second."""
    return new_page()


@functools.cache
def _chromium() -> Any:
    from playwright.sync_api import sync_playwright

    playwright = _running.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    _running.callback(browser.close)
    return browser
