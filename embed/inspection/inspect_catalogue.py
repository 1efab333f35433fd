"""Inspection: what a catalogue holds, before anything is paid for. `embed.inspect` does it all.

The rows are read once, in batches, and counted by a `RowCounter`; where contents repeat, they are read a second time up
to the last row that is shown. Then the pictures are read, and a sample is encoded for the cost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cache.cloud.addresses import StoragePath, resolved
from cache.columns.group_columns import GroupColumn
from cache.columns.labels import clean_label
from cache.columns.leak import NearLeak
from cache.console.progress import Progress
from embed.catalogue.table import folder_of
from embed.inspection.association import Association
from embed.inspection.column_profile import ColumnProfile
from embed.inspection.cost_sample import Cost, measure_cost
from embed.inspection.duplicate_counter import Repeats
from embed.inspection.inspection_settings import InspectSettings
from embed.inspection.label_profile import LabelProfile, profile_label
from embed.inspection.picture_profile import PictureProfile, profile_pictures
from embed.inspection.row_counter import RowCounter
from embed.inspection.rows import Row, Rows
from embed.inspection.text_profile import TextProfile

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
    row: int  # of the table, from 0


@dataclass(frozen=True)
class Inspection:
    """What a catalogue holds; `None` stands for what it has not, was not asked for, or has too much of for a label."""

    path: Path
    root: Path  # of the pictures
    n_rows: int  # that were looked at: for which `where` holds
    n_read: int  # of the table
    roles: dict[str, str]  # id, image, text, label -> column; of several that are joined: all names
    columns: list[ColumnProfile]
    repeated_rows: Repeats  # alike in all columns but `not_in_rows`
    not_in_rows: list[str]  # roles: id, and image where pictures stand inside other files
    repeated_ids: Repeats | None
    label: LabelProfile | None
    associations: list[Association]
    not_compared: list[str]  # columns of too many values
    near_leaks: list[NearLeak]  # columns, or two together, that tell the label of most rows; in a sample
    group_columns: list[GroupColumn]  # which seem to say what rows are of one product, the likeliest first
    text: TextProfile | None
    pictures: PictureProfile | None
    products: list[Product]
    cost: Cost | None
    n_bad_lines: int
    bad_unit: str  # what they are: line, or member of a shard
    bad_lines: list[str]
    elapsed_s: float
    settings: InspectSettings = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        values = asdict(self)
        del values["settings"]
        if self.cost is not None:
            values["cost"] |= {"n_bytes": self.cost.n_bytes, "encode_s": self.cost.encode_s}
        return values


def inspect(catalogue_path: str | Path = "data.csv", *, settings: InspectSettings | None = None) -> Inspection:
    """Return what a catalogue holds; nothing is written.

    Raises:
        CatalogueError: the catalogue cannot be read, has no rows, or lacks a column that was named.
        SettingError: ``where`` is no condition on the columns there are.
    """
    settings = settings or InspectSettings()
    extract = settings.extract
    started = time.monotonic()
    path = StoragePath(catalogue_path)
    source = Rows(path, settings)
    roles = source.roles
    counter = _count(source, settings)
    columns = counter.profiles()
    associations = counter.associations(columns)
    rows, ids, texts = _repeats(counter, source)
    root = resolved(extract.image_root or folder_of(path))
    pictures = _pictures(counter, root, settings)
    text = None
    if texts is not None:
        text = counter.texts.profile(
            roles["text"], texts, text_encoder=extract.text_encoder, max_length=extract.max_length
        )
    label_counts = counter.columns[roles["label"]].counts if "label" in roles else None
    sample = [numbered for _, numbered in counter.rows.items()]
    bad_lines = source.bad_lines
    return Inspection(
        path=path,
        root=root,
        n_rows=counter.n_rows,
        n_read=source.n_read,
        roles=roles,
        columns=columns,
        repeated_rows=rows,
        not_in_rows=["id"] * ("id" in roles) + ["image"] * counter.has_placed,
        repeated_ids=ids,
        label=None if label_counts is None else profile_label(roles["label"], label_counts),
        associations=associations,
        not_compared=counter.not_compared(columns),
        near_leaks=counter.near_leaks(associations),
        group_columns=counter.group_columns(),
        text=text,
        pictures=pictures,
        products=_choose_products(sample, roles, settings),
        cost=_cost(sample, roles, pictures, text, root=root, settings=settings),
        n_bad_lines=bad_lines.count,
        bad_unit=bad_lines.unit,
        bad_lines=[f"{bad_lines.unit} {number} {reason}" for number, reason in bad_lines.examples],
        elapsed_s=time.monotonic() - started,
        settings=settings,
    )


def _count(source: Rows, settings: InspectSettings) -> RowCounter:
    """Return the counter of all rows, which are read once."""
    counter = RowCounter(
        source.columns,
        source.roles,
        text_columns=source.text_columns,
        clean_text=settings.extract.clean_text,
        n_pictures=settings.most_pictures,
        n_texts=settings.most_texts,
        generator=np.random.default_rng(settings.seed),
    )
    with Progress("Reading the catalogue", None, unit="row") as progress:
        for numbers, batch in source.batches():
            counter.add(numbers, batch)
            progress.advance(len(numbers))
    return counter


def _repeats(counter: RowCounter, source: Rows) -> tuple[Repeats, Repeats | None, Repeats | None]:
    """Return the repeats of rows, ids and texts, with the cells of those to be shown."""
    repeats_of = {"row": counter.row_digests.repeats(n_largest=N_REPEATS)}
    if "id" in counter.roles:
        repeats_of["id"] = counter.id_digests.repeats(n_largest=N_REPEATS)
    if "text" in counter.roles:
        repeats_of["text"] = counter.texts.digests.repeats(n_largest=N_REPEATS)
    rows = source.at({repeat.row for repeats in repeats_of.values() for repeat in repeats.largest})
    shown_column = {role: counter.roles.get(role, "") for role in ("id", "text")}
    shown_column["row"] = counter.roles.get("text") or counter.roles.get("image") or next(iter(counter.columns))
    for role, repeats in repeats_of.items():
        largest = []
        for repeat in repeats.largest:
            number, cells = rows[repeat.row]
            largest.append(replace(repeat, row=number, example=cells[shown_column[role]]))
        repeats_of[role] = replace(repeats, largest=largest)
    return repeats_of["row"], repeats_of.get("id"), repeats_of.get("text")


def _pictures(counter: RowCounter, root: Path, settings: InspectSettings) -> PictureProfile | None:
    if "image" not in counter.roles:
        return None
    return profile_pictures(
        counter.roles["image"],
        [named for _, named in counter.pictures.items()],
        n_rows=counter.n_rows,
        root=root,
        allow_outside=settings.extract.allow_outside,
        deep=settings.deep,
        n_workers=settings.extract.n_workers,
    )


def _choose_products(
    sample: Sequence[tuple[int, Row]], roles: dict[str, str], settings: InspectSettings
) -> list[Product]:
    """Return products to show: of the largest classes the same number each, as far as there are, else any."""
    groups: dict[str, list[Product]] = {}
    for index in np.random.default_rng(settings.seed).permutation(len(sample)).tolist():
        number, row = sample[index]
        cells = {role: row[column] for role, column in roles.items()}
        label = clean_label(cells.get("label", ""))
        product = Product(cells.get("id", ""), cells.get("image", ""), cells.get("text", ""), label, number)
        groups.setdefault(label, []).append(product)
    largest = sorted(groups.values(), key=len, reverse=True)[:N_CLASSES_SHOWN]
    in_turn = (group[turn] for turn in range(len(sample)) for group in largest if turn < len(group))
    return sorted(islice(in_turn, settings.n_products), key=lambda product: product.label)


def _cost(
    sample: Sequence[tuple[int, Row]],
    roles: dict[str, str],
    pictures: PictureProfile | None,
    text: TextProfile | None,
    *,
    root: Path,
    settings: InspectSettings,
) -> Cost | None:
    if not settings.estimate:
        return None
    n_unique = {}
    if pictures is not None:
        # A sample shows too small a share of copies, so this is an upper bound.
        n_unique["image"] = round(pictures.repeats.n_distinct * pictures.n_rows / max(1, pictures.n_looked_at))
    if text is not None:
        n_unique["text"] = text.repeats.n_distinct
    rows = [row for _, row in sample]
    return measure_cost(rows, roles, n_unique=n_unique, root=root, settings=settings.extract)
