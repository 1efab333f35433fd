"""The options that choose encoders: which of a cache's, and for raw products their device and their files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from heads.errors import SettingError
from heads.option_texts import parse_encoders

__all__ = ["cached_encoder_option", "encoder_file_options", "encoder_options"]

NAMES = ("image_encoder", "image_weights", "text_encoder", "text_weights")


def cached_encoder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--encoder``; it gets `encoders`, {modality: encoder}."""
    return click.option(
        "--encoder", "encoders", multiple=True, metavar="MODALITY=NAME", help="Where the cache has several.",
        callback=lambda _context, _option, texts: _encoder_by_modality(texts),
    )(command)  # fmt: skip


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--device`` and the options that name an encoder's files; it gets `device` and `encoders`."""
    return click.option("--device", default="auto", show_default=True, help="Of encoders: auto, cpu, cuda, cuda:N.")(
        encoder_file_options(command)
    )


def encoder_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name an encoder's files; it gets `encoders`."""

    @functools.wraps(command)
    def command_with_encoders(**options: Any) -> Any:
        encoders = {name: value for name in NAMES if (value := options.pop(name)) is not None}
        return command(encoders=encoders, **options)

    for name in reversed(NAMES):
        modality, _, noun = name.partition("_")
        text = f"Where the {modality} encoder's {'weights are' if noun == 'weights' else 'model is'} by now; default: "
        option = click.option(f"--{modality}-{noun}", help=text + "where it was extracted from.")
        command_with_encoders = option(command_with_encoders)
    return command_with_encoders


def _encoder_by_modality(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the encoders that texts such as ``image=resnet18`` name, {modality: encoder}.

    Raises:
        SettingError: a text names none, or a modality has two.
    """
    encoders: dict[str, str] = {}
    for modality, encoder in parse_encoders(texts):
        if encoders.setdefault(modality, encoder) != encoder:
            both = f"{modality}={encoders[modality]}+{encoder}"
            raise SettingError(
                f"--encoder: expected one of {modality}, got two. Name one; a training takes both as {both}."
            )
    return encoders
