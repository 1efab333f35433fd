"""What an extraction may be told, and the defaults of all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from cache.system.memory_budget import memory_bytes
from cache.workers.ray_cluster import RaySettings
from embed.errors import SettingError

__all__ = ["MODALITIES", "EncoderChoice", "ExtractSettings", "parse_grid"]

MODALITIES = ("image", "text")
RAY = RaySettings(deadline_s=300.0)  # a worker speaks every 15 s


@dataclass(frozen=True)
class EncoderChoice:
    """One encoder of a comma list, and what was chosen for it."""

    model: str
    weights: str
    name: str | None
    pooling: str  # of texts


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of `embed.extract`; those of encoders may be comma lists: ``"resnet18,convnext_tiny"``.

    Raises:
        SettingError: a value is out of its range.
    """

    modalities: tuple[str, ...] = MODALITIES
    id_column: str | None = None  # None: by its usual names
    image_column: str | None = None
    image_template: tuple[str, ...] | str = ()  # "images/{id}.jpg", several tried in turn; none: by what is there
    pictures: str = "first"  # or "mean" of their vectors, or "rows": of cells that list several
    text_column: str | None = None
    text_columns: str | None = None  # several, "title,description": joined by `embed.contents.texts.join`
    clean_text: bool = False  # lower case, no HTML, a blank for punctuation: `embed.contents.texts.clean`
    class_names: str | None = None  # columns, "articleType,gender", whose cells every text encoder encodes, too
    labels: Path | None = None  # a second table, joined by id
    delimiter: str | None = None  # of a CSV file; None: by its header
    escape: str | None = None  # of quotes in a CSV file; "none": they are doubled; None: by its first lines
    bad_lines: str = "skip"  # or "error"
    where: str | None = None  # a condition, see `embed.catalogue.row_filter`; None: all products
    label: str | None = None  # the column whose classes `per_class` counts
    per_class: int | None = None  # so many products of each class, drawn from `seed`
    sample: int | None = None  # so many products in all, likewise
    encoding: str | None = None  # None: UTF-8, or UTF-16 where the file says so
    image_root: Path | None = None  # None: the catalogue's folder
    allow_outside: bool = False
    image_encoder: str = "resnet18"  # or a Hugging Face vision model: a folder, or a name on the hub
    image_weights: str = "pretrained"  # or "random", or a file
    image_name: str | None = None  # None: made from the encoder and its weights
    text_encoder: str = "bert-base-uncased"  # or a folder
    text_weights: str = "pretrained"  # or "random"
    text_name: str | None = None
    pooling: str = "cls"  # or "mean"
    max_length: int = 32  # tokens
    seed: int = 0  # of random weights, of views, and of what is drawn of the products
    device: str = "auto"  # or several: "cuda:0,cuda:1"
    precision: str = "auto"  # or "fp32", "bf16", "fp16"
    decode: str = "exact"  # or "fast": large JPEGs are scaled down while they are decoded
    tokens: str | None = None  # or "all", or "3x3": keep token states beside the vectors
    views: int = 1  # of each picture: as it is, and augmented ones (`embed.encoders.pictures.views`), drawn from `seed`
    layers: int = 1  # depths of each network whose pooled states are kept: the last, and others evenly spread before
    batch_size: int | None = None  # None: what suits the encoder and the device
    n_workers: int | None = None  # threads that read and decode; None: one per core
    retry_failed: bool = False
    rehash: bool = False  # read every picture, whatever the hints beside the cache say
    max_bad: str | None = None  # "1%" or "20"; None: no limit
    reuse: tuple[Path, ...] = ()  # other caches, whose vectors are taken where they are those of the same encoder
    engine: str = "local"  # or "ray": who encodes
    ray: RaySettings = RAY  # the cluster of the engine
    memory: str | None = None  # for rows, keys and cells: "2G"; more lies on the disk. None: half of the machine's
    part_bytes: int = 32 * 2**20
    part_s: float = 5.0

    def __post_init__(self) -> None:
        unknown = set(self.modalities) - set(MODALITIES)
        if unknown or not self.modalities:
            raise SettingError(
                f"--modalities: expected some of {', '.join(MODALITIES)}, got {','.join(self.modalities) or 'none'}."
            )
        for name, lowest in (
            ("batch_size", 1), ("layers", 1), ("max_length", 3), ("n_workers", 1), ("per_class", 1), ("sample", 1),
            ("views", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < lowest:
                option = "workers" if name == "n_workers" else name.replace("_", "-")
                raise SettingError(f"--{option}: expected at least {lowest}, got {value}.")
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"--seed: expected at least 0 and less than 2^63, got {self.seed}.")
        if self.max_bad is not None and not re.fullmatch(r"\d+(\.\d+)?%|\d+", self.max_bad):
            raise SettingError(f"--max-bad: expected a share such as 1% or a number, got {self.max_bad!r}.")
        if self.tokens is not None:
            parse_grid(self.tokens)
        if self.views > 1 and "image" not in self.modalities:
            raise SettingError(f"--views: expected 1 where no pictures are encoded, got {self.views}.")
        if self.class_names is not None and "text" not in self.modalities:
            raise SettingError(
                f"--class-names: expected text among --modalities, got {','.join(self.modalities)}. Add it, with a "
                "text encoder, or with the tower for texts of the image encoder as --text-encoder."
            )
        memory_bytes(self.memory)  # which refuses what is no size
        self._check_table()
        for modality in self.modalities:
            self.choices(modality)  # which refuses lists that do not fit

    def _check_table(self) -> None:
        """Check the settings of how the catalogue is read."""
        delimiter = self.csv_delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
            raise SettingError(f"--delimiter: expected one character, or tab, got {self.delimiter!r}.")
        if self.escape not in (None, "none") and (
            len(self.escape) != 1 or self.escape in '"\r\n\0' + (delimiter or "")
        ):
            raise SettingError(f"--escape: expected one character, or none, got {self.escape!r}.")
        if self.pictures not in ("first", "mean", "rows"):
            raise SettingError(f"--pictures: expected first, mean or rows, got {self.pictures!r}.")
        if self.pictures == "mean" and self.tokens is not None:
            raise SettingError(
                "Expected vectors alone with --pictures mean, but --tokens asks for tokens, which have no mean. Leave "
                "one of the two out."
            )
        if self.image_template and self.image_column is not None:
            raise SettingError(
                "Expected pictures to be named by a column (--image-column) or by a template (--image-template), but "
                "both are given. Put the column into the template, in braces."
            )
        if self.bad_lines not in ("error", "skip"):
            raise SettingError(f"--bad-lines: expected error or skip, got {self.bad_lines!r}.")
        if self.per_class is not None and self.label is None:
            raise SettingError("--per-class needs the column of the classes, but none is named. Add --label COLUMN.")
        if self.text_column is not None and self.text_columns is not None:
            raise SettingError(
                "Expected the text to be one column (--text-column) or several joined (--text-columns), but both "
                "are given. Name all in --text-columns."
            )
        names = self.text_column_names
        if len(set(names)) < len(names):
            raise SettingError(f"--text-columns: expected each column once, got {self.text_columns!r}.")

    @property
    def csv_delimiter(self) -> str | None:
        """The one character that `delimiter` means."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter

    @property
    def text_column_names(self) -> tuple[str, ...]:
        """The columns that are joined; none where the text is one column."""
        return () if self.text_columns is None else tuple(_words("--text-columns", self.text_columns))

    @property
    def class_name_columns(self) -> tuple[str, ...]:
        """The columns whose cells are names of classes."""
        return () if self.class_names is None else tuple(_words("--class-names", self.class_names))

    def choices(self, modality: str) -> list[EncoderChoice]:
        """Return the encoders of a modality, one for each name of its comma list.

        Raises:
            SettingError: a list has another length, an empty name, or the same encoder twice.
        """
        models = _words(f"--{modality}-encoder", getattr(self, f"{modality}_encoder"))
        weights = _one_each(f"--{modality}-weights", getattr(self, f"{modality}_weights"), models)
        poolings = _one_each("--pooling", self.pooling, models) if modality == "text" else [""] * len(models)
        names: list[str | None] = [None] * len(models)
        requested = getattr(self, f"{modality}_name")
        if requested is not None:
            names = list(_words(f"--{modality}-name", requested) if len(models) > 1 else [requested])
            if len(names) != len(models):
                raise SettingError(
                    f"--{modality}-name: expected a name of its own for each of the {len(models)} encoders "
                    f"({', '.join(models)}), got {requested!r}."
                )
        choices = [EncoderChoice(*fields) for fields in zip(models, weights, names, poolings, strict=True)]
        if len(set(choices)) < len(choices):
            raise SettingError(f"--{modality}-encoder: expected each encoder once, got {','.join(models)!r}.")
        return choices

    def bad_limit(self, n_products: int) -> Fraction:
        """Return how many bad contents are allowed among `n_products` products."""
        if self.max_bad is None:
            return Fraction(n_products)
        if self.max_bad.endswith("%"):
            return Fraction(self.max_bad[:-1]) * n_products / 100
        return Fraction(self.max_bad)


def _words(option: str, value: str) -> list[str]:
    """Return the names of a comma list.

    Raises:
        SettingError: one is empty.
    """
    words = [word.strip() for word in value.split(",")]
    if not all(words):
        raise SettingError(f"{option}: expected a name, or several with commas between them, got {value!r}.")
    return words


def _one_each(option: str, value: str, models: list[str]) -> list[str]:
    """Return the word of each model, from a comma list of as many, or of a single one for all.

    Raises:
        SettingError: the list has another length.
    """
    words = _words(option, value)
    if len(words) not in (1, len(models)):
        raise SettingError(
            f"{option}: expected one for all encoders, or one for each of the {len(models)} ({', '.join(models)}), "
            f"got {len(words)}: {value}."
        )
    return words * len(models) if len(words) == 1 else words


def parse_grid(tokens: str) -> tuple[int, int] | None:
    """Return the rows and columns that a map is pooled to, None for ``all``, which keeps it as it is.

    >>> parse_grid("3x3")
    (3, 3)

    Raises:
        SettingError: the text is neither.
    """
    if tokens == "all":
        return None
    if not (match := re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", tokens)):
        raise SettingError(
            f"--tokens: expected all, or rows and columns such as 3x3, got {tokens!r}. Where the catalogue follows, "
            "write --tokens=all."
        )
    return int(match[1]), int(match[2])
