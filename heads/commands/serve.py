"""`heads-serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cache.console.command import Command, setting_options
from cache.console.echo import echo
from cache.console.paths import LOCAL_PATH, PATH
from heads.commands.encoder_options import encoder_options
from heads.serving.serve_settings import ServeSettings

__all__ = ["serve"]

_setting = setting_options(ServeSettings)


@click.command(cls=Command)
@click.argument("run_path", metavar="RUN", type=LOCAL_PATH)
@_setting("--host", help="The address to listen at; the default is reached from this machine alone.")
@_setting("--port", type=click.IntRange(0, 65535), help="0: any that is free.")
@_setting(
    "--token", envvar="EMBED_ONCE_TOKEN",
    help="Answer only who sends it, as a bearer token; better by the variable EMBED_ONCE_TOKEN, which no list shows.",
)  # fmt: skip
@click.option(
    "--head", "heads", multiple=True,
    help="One of the run's heads, the first is the answer that counts; default: all, and the best on validation rows.",
)  # fmt: skip
@click.option(
    "--cache",
    "cache_path",
    type=PATH,
    help="Products that are known by their ids; default: the cache of the training.",
)
@click.option("--image-root", type=LOCAL_PATH, help="What its image paths are relative to; default: its folder.")
@click.option("--review", type=LOCAL_PATH, help="A page of heads-review: answers are saved as they are given.")
@_setting("--deadline", "deadline_s", type=click.FloatRange(0.1, 3600), help="Seconds for a request.")
@_setting("--max-body", "max_body_mb", type=click.FloatRange(0.001, 256), help="Megabytes of a request.")
@encoder_options
@click.option("--plugins", is_flag=True, help="Load heads of a user's own class: runs its code.")
def serve(
    run_path: Path, host: str, port: int, token: str | None, deadline_s: float, max_body_mb: float,
    heads: tuple[str, ...], **options: Any,
) -> None:  # fmt: skip
    """Answer products over HTTP with the heads of a run, and show a page to try them at.

    RUN is a folder that heads-train wrote.
    """
    from heads.serving.serve import serve as run_server

    settings = ServeSettings(host=host, port=port, token=token, deadline_s=deadline_s, max_body_mb=max_body_mb)
    run_server(run_path, settings, heads=heads or None, tell=echo, **options)
