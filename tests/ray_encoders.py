"""Encoders for the tests of Ray: they write down what they encode, and die, hang or wait where a file tells them to."""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support import CountingEncoder

from cache import content_key
from embed.settings import ExtractSettings


class NotingEncoder(CountingEncoder):
    """A `CountingEncoder` of texts; the folder that it notes things in is the name of its weights."""

    batch_size = 4

    def __init__(self, folder: Path) -> None:
        super().__init__("text")
        self.folder = folder

    def encode(self, batch: Sequence[bytes]) -> np.ndarray:
        for text in map(bytes.decode, batch):
            if self._takes(f"die-{text}"):
                os.kill(os.getpid(), signal.SIGKILL)
            if self._takes(f"hang-{text}"):
                (self.folder / "hanging").touch()
                time.sleep(3600)
            if self._takes(f"stop-{text}"):
                (self.folder / "wait").touch()
        (self.folder / f"worker-{os.getpid()}").touch()
        while (self.folder / "wait").exists():
            time.sleep(0.02)
        for item in batch:
            with open(self.folder / "encoded", "ab", buffering=0) as file:
                file.write(content_key(item).encode() + b"\n")
        return super().encode(batch)

    def _takes(self, name: str) -> bool:
        """Return whether an order is there, which is carried out once, unless it is for always."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return (self.folder / f"{name}-always").exists()
        return True


def make_encoders(settings: ExtractSettings) -> list[CountingEncoder]:
    """Return the encoder whose folder the settings name."""
    return [NotingEncoder(Path(settings.text_encoder))]


def make_workers_encoders(settings: ExtractSettings) -> list[CountingEncoder]:
    """Return the same in a worker, with all of torch that these need: half of its time would go to the whole."""
    torch = types.ModuleType("torch")
    torch.get_num_threads, torch.set_num_threads = lambda: 1, lambda _: None  # type: ignore[attr-defined]
    torch.device, torch.Tensor = type("device", (), {}), type("Tensor", (), {})  # type: ignore[attr-defined]
    sys.modules["torch"] = torch
    return make_encoders(settings)
