"""The engine that encodes in this process."""

from __future__ import annotations

from collections.abc import Sequence

from cache import Inventory
from embed.extraction.encoding.encoder_run import EncoderReport, EncoderRun
from embed.extraction.encoding.shared_decoding import encode_all
from embed.settings import ExtractSettings

__all__ = ["encode"]


def encode(runs: Sequence[EncoderRun], inventory: Inventory, settings: ExtractSettings) -> list[EncoderReport]:  # noqa: ARG001 - others need them
    """Encode what the inventory lacks; encoders that may share their work do."""
    return encode_all(runs, inventory)
