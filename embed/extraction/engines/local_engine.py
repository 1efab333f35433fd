"""The engine that encodes in this process."""

from __future__ import annotations

from collections.abc import Sequence

from cache import Inventory
from embed.extraction.encoder_run import EncoderReport, EncoderRun
from embed.settings import ExtractSettings

__all__ = ["encode"]


def encode(runs: Sequence[EncoderRun], inventory: Inventory, settings: ExtractSettings) -> list[EncoderReport]:  # noqa: ARG001 - others need them
    """Encode what the inventory lacks, one encoder after the other."""
    return [run.encode_missing(inventory) for run in runs]
