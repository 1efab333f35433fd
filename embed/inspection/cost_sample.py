"""What extraction will cost: a sample of the catalogue is encoded with untrained weights, and the rest reckoned."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cache.cloud.addresses import resolved
from cache.system.stray_bytes import open_csv
from embed.contents.images import locate
from embed.errors import CatalogueError, ContentError, DeviceError, SettingError, WeightsError
from embed.inspection.text_profile import local_folder
from embed.settings import ExtractSettings

__all__ = ["Cost", "EncoderCost", "measure_cost"]

SAMPLE_BYTES = 200 * 10**6  # of pictures that are copied out of other files


@dataclass(frozen=True)
class EncoderCost:
    """What one encoder will take for all unique contents."""

    name: str  # <modality>/<encoder>
    n_contents: int  # to be encoded
    vector_bytes: int  # four a dimension
    encode_s: float
    n_sampled: int  # that the speed was measured on


@dataclass(frozen=True)
class Cost:
    """What an extraction will take, reckoned from a sample; or why that is not known."""

    encoders: list[EncoderCost]
    reason: str = ""  # why nothing was measured

    @property
    def n_bytes(self) -> int:
        """The bytes of all vectors."""
        return sum(encoder.vector_bytes for encoder in self.encoders)

    @property
    def encode_s(self) -> float:
        """The seconds of all encoders, one after the other."""
        return sum(encoder.encode_s for encoder in self.encoders)


def measure_cost(
    rows: Sequence[Mapping[str, str]],
    roles: Mapping[str, str],
    *,
    n_unique: Mapping[str, int],
    root: Path,
    settings: ExtractSettings,
) -> Cost:
    """Return what it takes to encode `n_unique` contents of each modality, from the contents of some rows.

    The encoders have the settings' architectures and random weights: as fast as trained ones, and nothing is
    downloaded. They encode for some seconds each; `embed.estimate` does it, in a folder that is removed.
    """
    modalities = tuple(name for name in settings.modalities if name in roles and n_unique.get(name))
    if not modalities:
        return Cost([], "there is no content to encode")
    from embed.extraction.extract_catalogue import estimate

    try:
        with TemporaryDirectory(prefix="embed-inspect-") as folder:
            sample_settings = _sample_settings(settings, modalities)
            sample_path = Path(folder) / "data.csv"
            _write_sample(sample_path, rows, roles, root=root, allow_outside=settings.allow_outside)
            estimates = estimate(sample_path, Path(folder) / "embeddings.h5", settings=sample_settings).encoders
    except (CatalogueError, DeviceError, SettingError, WeightsError) as error:
        return Cost([], str(error))
    except OSError as error:
        return Cost([], f"{error}. If the temporary folder is full, name another with TMPDIR.")
    encoders = []
    for estimated in estimates:
        n_contents = n_unique[estimated.name.partition("/")[0]]
        if estimated.n_missing and estimated.vector_bytes:
            scale = n_contents / estimated.n_missing
            encoders.append(
                EncoderCost(
                    name=estimated.name.removesuffix("-random"),
                    n_contents=n_contents,
                    vector_bytes=round(estimated.vector_bytes * scale),
                    encode_s=estimated.encode_s * scale,
                    n_sampled=estimated.n_sampled,
                )
            )
    return Cost(encoders, "" if encoders else "no content of the sample could be read")


def _sample_settings(settings: ExtractSettings, modalities: tuple[str, ...]) -> ExtractSettings:
    """Return the settings for the sample, whose rows are chosen and whose texts are joined; `clean_text` stays."""
    return replace(
        settings,
        modalities=modalities,
        id_column="id", image_column="image", text_column="text", text_columns=None, encoding=None,
        image_template=(), pictures="first",
        delimiter=",", bad_lines="skip", where=None, label=None, per_class=None, sample=None,
        image_root=None, allow_outside=True,
        image_weights="random", text_weights="random", image_name=None, text_name=None,
        text_encoder=",".join(_local_encoders(settings.text_encoder)),
        tokens=None, retry_failed=False, rehash=False, max_bad=None,
    )  # fmt: skip


def _local_encoders(text_encoder: str) -> list[str]:
    """Return the text encoders, each as its folder on this machine where there is one, for its architecture."""
    names = [name.strip() for name in text_encoder.split(",")]
    return [name if name == "bert-base-uncased" else str(local_folder(name, "config.json") or name) for name in names]


def _write_sample(
    path: Path, rows: Sequence[Mapping[str, str]], roles: Mapping[str, str], *, root: Path, allow_outside: bool
) -> None:
    """Write the rows as a catalogue; pictures inside other files become files, until they have `SAMPLE_BYTES`."""
    root = resolved(root)
    folders: dict[str, Path] = {}
    n_bytes = 0
    with open_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text"])
        for number, row in enumerate(rows):
            picture = ""
            if "image" in roles:
                with suppress(ContentError):  # what cannot be read costs nothing
                    place = locate(row[roles["image"]], root, allow_outside=allow_outside, folders=folders)
                    if isinstance(place, Path):
                        picture = str(place)
                    elif n_bytes < SAMPLE_BYTES:
                        picture_path = path.with_name(f"picture-{number}")
                        n_bytes += picture_path.write_bytes(place.read())
                        picture = str(picture_path)
            writer.writerow([number, picture, row[roles["text"]] if "text" in roles else ""])
