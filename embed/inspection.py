"""Inspection: what a catalogue holds, before anything is paid for. `embed.inspect` does it all.

The rows are read once, in batches, and counted by a `Tally`; where contents repeat, they are read a second time up to
the last row that is shown. Then the pictures are read, and a sample is encoded for the cost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from embed.association import Association
from embed.catalogue import find_column
from embed.column_profile import ColumnProfile
from embed.cost_sample import Cost, measure_cost
from embed.errors import CatalogueError
from embed.inspect_settings import InspectSettings
from embed.label_profile import LABEL_NAMES, LabelProfile, clean_label, profile_label
from embed.picture_profile import PictureProfile, profile_pictures
from embed.progress import Progress
from embed.repeats import Repeats
from embed.settings import MODALITIES, ExtractSettings
from embed.tables import Table, open_table
from embed.tally import Row, Tally
from embed.text_profile import TextProfile

__all__ = ["Inspection", "Product", "inspect"]

N_REPEATS = 10  # shown of each kind
N_CLASSES_SHOWN = 8  # the largest, with a few products each


@dataclass(frozen=True)
class Product:
    """A product to show: its id, picture cell, text and label, each empty where there is none."""

    id: str
    picture: str
    title: str
    label: str


@dataclass(frozen=True)
class Inspection:
    """What a catalogue holds; `None` stands for what it has not, was not asked for, or has too much of for a label."""

    path: Path
    root: Path  # of the pictures
    n_rows: int
    roles: dict[str, str]  # id, image, text, label -> column
    columns: list[ColumnProfile]
    repeated_rows: Repeats  # alike in all but the id
    repeated_ids: Repeats | None
    label: LabelProfile | None
    associations: list[Association]
    not_compared: list[str]  # columns of too many values
    text: TextProfile | None
    pictures: PictureProfile | None
    products: list[Product]
    cost: Cost | None
    n_bad_lines: int
    bad_lines: list[str]
    elapsed_s: float
    settings: InspectSettings = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        found = asdict(self)
        del found["settings"]
        if self.cost is not None:
            found["cost"] |= {"n_bytes": self.cost.n_bytes, "encode_s": self.cost.encode_s}
        return found


def inspect(catalogue_path: str | Path = "data.csv", *, settings: InspectSettings | None = None) -> Inspection:
    """Return what a catalogue holds; nothing is written.

    Raises:
        CatalogueError: the catalogue cannot be read, has no rows, or lacks a column that was named.
    """
    settings = settings or InspectSettings()
    extract = settings.extract
    started = time.monotonic()
    path = Path(catalogue_path)
    table = open_table(path, extract)
    tally = _count(table, _find_roles(table.columns, settings), path, settings)
    roles = tally.roles
    columns = tally.profiles()
    rows, ids, texts = _repeats(tally, path, extract)
    root = (extract.image_root or (path if path.is_dir() else path.parent)).resolve()
    pictures = None
    if "image" in roles:
        pictures = profile_pictures(
            roles["image"], tally.pictures.items(), n_rows=tally.n_rows, root=root,
            allow_outside=extract.allow_outside, deep=settings.deep, n_workers=extract.n_workers,
        )  # fmt: skip
    text = None
    if texts is not None:
        text = tally.texts.profile(
            roles["text"], texts, text_encoder=extract.text_encoder, max_length=extract.max_length
        )
    label_counts = tally.columns[roles["label"]].counts if "label" in roles else None
    sample = [row for _, row in tally.rows.items()]
    return Inspection(
        path=path,
        root=root,
        n_rows=tally.n_rows,
        roles=roles,
        columns=columns,
        repeated_rows=rows,
        repeated_ids=ids,
        label=None if label_counts is None else profile_label(roles["label"], label_counts),
        associations=tally.associations(columns),
        not_compared=tally.not_compared(columns),
        text=text,
        pictures=pictures,
        products=_choose_products(sample, roles, settings),
        cost=_cost(sample, roles, pictures, text, root=root, settings=settings) if settings.estimate else None,
        n_bad_lines=table.bad_lines.count,
        bad_lines=[f"{table.bad_lines.unit} {number} {reason}" for number, reason in table.bad_lines.examples],
        elapsed_s=time.monotonic() - started,
        settings=settings,
    )


def _count(table: Table, roles: dict[str, str], path: Path, settings: InspectSettings) -> Tally:
    """Return what the table's rows, read once, come to."""
    tally = Tally(
        table.columns,
        roles,
        n_pictures=settings.most_pictures,
        n_texts=settings.most_texts,
        generator=np.random.default_rng(settings.seed),
    )
    with Progress("Reading the catalogue", None, unit="row") as progress:
        for batch in table.batches():
            n_before = tally.n_rows
            tally.add(batch)
            progress.advance(tally.n_rows - n_before)
    if not tally.n_rows:
        raise CatalogueError(f"The catalogue must have rows, however {path} has a header and none.")
    return tally


def _repeats(tally: Tally, path: Path, settings: ExtractSettings) -> tuple[Repeats, Repeats | None, Repeats | None]:
    """Return the repeats of rows, ids and texts, with the cells of those to be shown."""
    found = {"row": tally.row_digests.repeats(n_largest=N_REPEATS)}
    if "id" in tally.roles:
        found["id"] = tally.id_digests.repeats(n_largest=N_REPEATS)
    if "text" in tally.roles:
        found["text"] = tally.texts.digests.repeats(n_largest=N_REPEATS)
    wanted = {repeat.row for repeats in found.values() for repeat in repeats.largest}
    rows = _rows_at(wanted, path, settings)
    shown = {role: tally.roles.get(role) for role in ("id", "text")}
    shown["row"] = tally.roles.get("text") or tally.roles.get("image") or next(iter(tally.columns))
    with_cells = {
        role: replace(
            repeats,
            largest=[replace(repeat, example=rows[repeat.row][shown[role] or ""]) for repeat in repeats.largest],
        )
        for role, repeats in found.items()
    }
    return with_cells["row"], with_cells.get("id"), with_cells.get("text")


def _rows_at(places: set[int], path: Path, settings: ExtractSettings) -> dict[int, Row]:
    """Return the rows at some places, reading the table up to the last of them."""
    found: dict[int, Row] = {}
    start = 0
    for batch in open_table(path, settings).batches() if places else ():
        n = len(next(iter(batch.values())))
        for place in sorted(place for place in places if start <= place < start + n):
            found[place] = {name: cells[place - start] for name, cells in batch.items()}
        start += n
        if len(found) == len(places):
            break
    return found


def _choose_products(sample: Sequence[Row], roles: dict[str, str], settings: InspectSettings) -> list[Product]:
    """Return products to show: of the largest classes the same number each, as far as there are, else any."""
    order = np.random.default_rng(settings.seed).permutation(len(sample)).tolist()
    groups: dict[str, list[Product]] = {}
    for place in order:
        row = sample[place]
        cells = {role: row[column] for role, column in roles.items()}
        label = clean_label(cells.get("label", ""))
        product = Product(cells.get("id", ""), cells.get("image", ""), cells.get("text", ""), label)
        groups.setdefault(label, []).append(product)
    largest = sorted(groups.values(), key=len, reverse=True)[:N_CLASSES_SHOWN]
    rounds = (group[turn] for turn in range(len(sample)) for group in largest if turn < len(group))
    return sorted(islice(rounds, settings.n_products), key=lambda product: product.label)


def _cost(
    sample: Sequence[Row],
    roles: dict[str, str],
    pictures: PictureProfile | None,
    text: TextProfile | None,
    *,
    root: Path,
    settings: InspectSettings,
) -> Cost:
    n_unique = {}
    if pictures is not None:
        # Of a sample the share of copies is found to be too low, so that this is an upper bound.
        n_unique["image"] = round(pictures.repeats.n_distinct * pictures.n_rows / max(1, pictures.n_looked_at))
    if text is not None:
        n_unique["text"] = text.repeats.n_distinct
    return measure_cost(sample, roles, n_unique=n_unique, root=root, settings=settings.extract)


def _find_roles(columns: list[str], settings: InspectSettings) -> dict[str, str]:
    """Return which columns serve for what: those that were named, and others by their usual names."""
    found = {role: find_column(role, columns, settings.extract) for role in ("id", *MODALITIES)}
    roles = {role: column for role, column in found.items() if column is not None}
    for role in found.keys() - roles.keys():
        if (asked := getattr(settings.extract, f"{role}_column")) is not None:
            raise CatalogueError(
                f"--{role}-column must be one of the catalogue's columns ({', '.join(columns)}), however got {asked!r}."
            )
    if settings.label is not None and settings.label not in columns:
        raise CatalogueError(
            f"--label must be one of the catalogue's columns ({', '.join(columns)}), however got {settings.label!r}."
        )
    usual = (column for name in LABEL_NAMES for column in columns if column.strip().lower() == name)
    label = settings.label or next(usual, None)
    return roles if label is None else {**roles, "label": label}
