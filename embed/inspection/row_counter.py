"""All that one pass over a catalogue's rows counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from cache.columns.group_columns import GroupColumn, find_group_column, has_group_name
from cache.columns.labels import clean_label
from cache.columns.leak import NearLeak, find_near_leaks
from embed.contents.file_ranges import is_inside_file
from embed.inspection.association import Association, PairCounter, associate
from embed.inspection.column_profile import ColumnCounter, ColumnProfile
from embed.inspection.duplicate_counter import Digests
from embed.inspection.rows import Row
from embed.inspection.sampling import Sample
from embed.inspection.text_profile import TextCounter

__all__ = ["RowCounter"]

SAMPLE_ROWS = 2048  # whole rows, for the products shown and for the cost
COMPARED = ("categorical", "boolean", "number", "date")  # kinds of columns that are compared with the label


class RowCounter:
    """Counts a catalogue's rows as they come, by batches.

    Memory: each column's values up to a limit (`embed.inspection.column_profile`), all columns' pairs with the label
    up to another and a sample of them beyond it (`embed.inspection.association`), 8 bytes a row for each of the row,
    its id, its text and that without HTML (`embed.inspection.duplicate_counter`), and samples of fixed sizes. Nothing
    else grows with the rows.

    Args:
        columns: their names.
        roles: role -> column, of ``id``, ``image``, ``text`` and ``label``.
        text_columns: those that are joined to the text; none where it is one column.
        n_pictures: rows whose pictures may be looked at.
        n_texts: texts whose length may be counted.
        clean_text: texts are cleaned before they are compared and counted.
    """

    def __init__(
        self,
        columns: Sequence[str],
        roles: Mapping[str, str],
        *,
        text_columns: Sequence[str] = (),
        n_pictures: int,
        n_texts: int,
        clean_text: bool = False,
        generator: np.random.Generator,
    ) -> None:
        self.roles = dict(roles)
        self.n_rows = 0
        self.text_columns = text_columns
        self.has_placed = False  # whether pictures stand inside another file
        self.columns = {name: ColumnCounter(name) for name in columns}
        row_generator, picture_generator, text_generator = generator.spawn(3)
        self.row_digests, self.id_digests = Digests(), Digests()
        self.rows: Sample[tuple[int, Row]] = Sample(SAMPLE_ROWS, row_generator)
        self.pictures: Sample[tuple[int, tuple[str, str]]] = Sample(n_pictures, picture_generator)  # row, (id, cell)
        self.texts = TextCounter(n_texts, text_generator, clean_text=clean_text)
        role_columns = {*(roles.get(role) for role in ("id", "image", "text", "label")), *text_columns}
        other_columns = [name for name in columns if name not in role_columns]
        self.pairs = PairCounter(name for name in other_columns if "label" in roles or has_group_name(name))

    def add(self, numbers: Sequence[int], batch: Mapping[str, Sequence[str]]) -> None:
        """Count the next rows: their numbers in the table, from 0, and the cells of each column."""
        n = len(numbers)
        self.n_rows += n
        for name, counter in self.columns.items():
            counter.add(batch[name])
        id_column = self.roles.get("id")
        # Python's hash of strings is one of 64 bits that is drawn anew in each process.
        self.row_digests.add(_without_none(map(hash, self._compared(batch))))
        ids: Sequence[str] = [str(row) for row in numbers] if id_column is None else batch[id_column]
        if id_column is not None:
            self.id_digests.add(_without_none(map(hash, ids)))
        self.rows.offer(n, lambda index: (numbers[index], {name: cells[index] for name, cells in batch.items()}))
        if "image" in self.roles:
            pictures = batch[self.roles["image"]]
            self.pictures.offer(n, lambda index: (numbers[index], (ids[index], pictures[index])))
        if "text" in self.roles:
            self.texts.add(batch[self.roles["text"]])
        if self.pairs.pairs or self.pairs.sampled:
            for name, counter in self.columns.items():
                if counter.counts is None:  # with so many values, any agreement with the label is chance
                    self.pairs.give_up(name)
            self.pairs.add(batch, self._labels(batch, n))

    def _labels(self, batch: Mapping[str, Sequence[str]], n_rows: int) -> list[str]:
        if "label" not in self.roles:
            return [""] * n_rows
        cells = batch[self.roles["label"]]
        cleaned = {cell: clean_label(cell) for cell in set(cells)}
        return [cleaned[cell] for cell in cells]

    def _compared(self, batch: Mapping[str, Sequence[str]]) -> Iterator[tuple[str | None, ...]]:
        """Return the cells of each row by which copies are found: all but the id and pictures inside other files.

        The names of such pictures are made up by the table, or say nothing of their bytes.
        """
        compared: dict[str, Sequence[str | None]] = {
            name: batch[name] for name in self.columns if name != self.roles.get("id")
        }
        image = self.roles.get("image", "")
        if any(is_inside_file(cell or "") for cell in compared.get(image, ())):
            self.has_placed = True
            compared[image] = [None if is_inside_file(cell or "") else cell for cell in compared[image]]
            if len(compared) == 1:
                return iter(())  # of nothing but pictures nothing is compared
        return zip(*compared.values(), strict=True)

    def profiles(self) -> list[ColumnProfile]:
        """Return what was counted of each column."""
        role_of: dict[str, str] = {}
        for role, column in self.roles.items():
            role_of.setdefault(column, role)
        for column in self.text_columns:
            role_of.setdefault(column, "text")
        return [counter.profile(role_of.get(name, "")) for name, counter in self.columns.items()]

    def associations(self, profiles: Sequence[ColumnProfile]) -> list[Association]:
        """Return how the columns go with the label, the closest first; those of ids and free text are left out."""
        associations = [
            association
            for profile in profiles
            if profile.kind in COMPARED and profile.name in self.pairs.pairs
            if (association := associate(profile.name, profile.kind, self.pairs.pairs[profile.name])) is not None
        ]
        return sorted(
            associations, key=lambda association: (association.v is None, -(association.v or 0.0), association.column)
        )

    def near_leaks(self, associations: Sequence[Association]) -> list[NearLeak]:
        """Return which columns, or two together, nearly give the label away, of a sample of rows and those compared."""
        if not associations:
            return []
        rows = [(clean_label(row[self.roles["label"]]), row) for _, (_, row) in self.rows.items()]
        labelled = [(label, row) for label, row in rows if label]
        names = [other.column for other in associations if not (other.is_leak or other.follows)]
        cells = {name: [row[name] for _, row in labelled] for name in self.columns if name in names}
        return find_near_leaks(cells, [label for label, _ in labelled])

    def group_columns(self) -> list[GroupColumn]:
        """Return the columns that seem to say which rows are of one product, the likeliest first."""
        candidates = [find_group_column(name, pairs) for name, pairs in self.pairs.pairs.items()]
        candidates += [
            find_group_column(name, sample.pairs, times=sample.times) for name, sample in self.pairs.sampled.items()
        ]
        return sorted(filter(None, candidates), key=lambda column: (not column.is_named, -column.told, column.n_values))

    def not_compared(self, profiles: Sequence[ColumnProfile]) -> list[str]:
        """Return the columns that have too many values to be held against the label."""
        given_up = self.pairs.given_up if "label" in self.roles else []
        return [profile.name for profile in profiles if profile.kind in COMPARED and profile.name in given_up]


def _without_none(hashes: Iterable[int]) -> Iterator[int]:
    """Return hashes as digests, none of which says that there is no content."""
    return (number or 1 for number in hashes)
