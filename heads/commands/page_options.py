"""The options of commands that write a page with products on it: where their pictures and titles are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from cache.console.paths import LOCAL_PATH
from heads.reports.report_settings import ReportSettings

__all__ = ["page_options"]

OPTIONS = (
    click.option("--image-column", help="Of the page's pictures; default: image, filename or another usual name."),
    click.option("--title-column", help="Of the page's titles; default: text, title or another usual name."),
    click.option(
        "--image-root", type=LOCAL_PATH, help="What its pictures are relative to; default: the cache's folder."
    ),
)


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; it gets `page`, the `ReportSettings` made of them."""

    @functools.wraps(command)
    def command_with_page(*, image_column: Any, title_column: Any, image_root: Any, **options: Any) -> Any:
        page = ReportSettings(image_column=image_column, title_column=title_column, image_root=image_root)
        return command(page=page, **options)

    for option in reversed(OPTIONS):
        command_with_page = option(command_with_page)
    return command_with_page
