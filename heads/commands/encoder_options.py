"""The options of commands that encode raw products: where encoders work, and what they are built from here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

__all__ = ["encoder_file_options", "encoder_options"]

NAMES = ("image_encoder", "image_weights", "text_encoder", "text_weights")


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--device`` and the options that name an encoder's files; it gets `device` and `encoders`."""
    return click.option("--device", default="auto", show_default=True, help="Of encoders: auto, cpu, cuda, cuda:N.")(
        encoder_file_options(command)
    )


def encoder_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name an encoder's files; it gets `encoders`."""

    @functools.wraps(command)
    def called(**options: Any) -> Any:
        encoders = {name: value for name in NAMES if (value := options.pop(name)) is not None}
        return command(encoders=encoders, **options)

    for name in reversed(NAMES):
        modality, _, what = name.partition("_")
        text = f"Where the {modality} encoder's {'weights are' if what == 'weights' else 'model is'} by now; default: "
        called = click.option(f"--{modality}-{what}", help=text + "where it was extracted from.")(called)
    return called
