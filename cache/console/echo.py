"""`echo`: text for a terminal, in which nothing but our own line ends is obeyed."""

from __future__ import annotations

import click

from cache.system.stray_bytes import printable

__all__ = ["echo"]


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a text on stdout or stderr; control characters of names and cells stand escaped."""
    click.echo(printable(text), err=err)
