"""The encoders of a run: those of the call, names that hints recall, or what is made of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from cache import Inventory
from embed.encoders.factory import make_encoders, replicas
from embed.encoders.precision import keep_precision
from embed.encoders.protocol import Encoder
from embed.encoders.specs.kept_names import keep_names
from embed.encoders.specs.spec_hints import SpecHints
from embed.extraction.encoding.encoder_run import EncoderRun
from embed.settings import ExtractSettings

__all__ = ["RunEncoders"]


class RunEncoders:
    """Encoders in teams of one name and spec; recalled ones are names alone until `make_for` finds work for them.

    Raises:
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        SpecConflictError: the cache has vectors of another spec under a name.
    """

    def __init__(self, inventory: Inventory, settings: ExtractSettings, encoders: Sequence[Encoder] | None) -> None:
        self._inventory = inventory
        self._settings = settings
        journal = inventory.journal
        hinted_settings = None if encoders is not None else settings
        self._hints = SpecHints(journal.cache_path, hinted_settings, folder=journal.folder)
        self._recalled = self._hints.recall(inventory.specs)
        self.teams = replicas(encoders if encoders is not None else self._recalled or self._make())
        for encoder, *_ in self.teams:
            inventory.entry(encoder.spec.modality, encoder.name, encoder.spec)  # a conflict is found before any work

    def make_for(self, runs: Sequence[EncoderRun]) -> None:
        """Give runs that were begun with recalled names their encoders, if any of them has something to encode.

        Raises:
            WeightsError, DeviceError, SettingError: an encoder cannot be had.
            EncoderError: it is not what the hints said.
        """
        if not self._recalled or not any(run.lacks_any(self._inventory) for run in runs):
            return
        self.teams = replicas(self._make())
        self._hints.check([run.encoder for run in runs], [encoder for encoder, *_ in self.teams])
        for run, team in zip(runs, self.teams, strict=True):
            run.replicas = team

    def _make(self) -> list[Encoder]:
        """Return the encoders that the settings name, as the cache has them: by name, and in its precision."""
        encoders, specs = make_encoders(self._settings), self._inventory.specs
        is_auto = self._settings.precision == "auto"
        requested = {"image": self._settings.image_name, "text": self._settings.text_name}
        unnamed = [encoder for encoder in encoders if requested.get(encoder.spec.modality) is None]
        keep_names(unnamed, specs, but_for=("precision",) if is_auto else ())
        if is_auto:
            keep_precision(encoders, specs)
        if not self._inventory.journal.is_shard:  # which writes nothing outside its folder
            self._hints.remember(encoders)
        return encoders
