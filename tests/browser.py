"""A headless Chromium that opens a page as a reader does, and notes what it fetches and what it complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["opened"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def opened(path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Yield the page (Playwright's) of an HTML file; at the end nothing may have been fetched and no error logged.

    Where there is no Chromium the test is skipped, and says so.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: the page is not opened")
    fetched: list[str] = []
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page.on("request", lambda request: fetched.append(request.url))
            page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(path.resolve().as_uri())
            yield page
            others = [url for url in fetched if not url.startswith("data:") and url != path.resolve().as_uri()]
            assert not complaints, complaints
            assert not others, f"the page fetched {others}"
        finally:
            browser.close()
