"""The files that answers are written to; a format is a function here and a line of `FORMATS`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cache.system.aside import write_aside
from cache.system.stray_bytes import open_csv, printable, shown_values
from heads.errors import HeadError
from heads.prediction.answers import Answers

__all__ = ["FORMATS", "AnswerTable", "format_of", "write_answers"]


@dataclass(frozen=True)
class AnswerTable:
    """The answers to some of N products, as a table with a line for each."""

    ids: Sequence[str]  # of all N
    answers: Answers  # to all N
    rows: Sequence[int]  # of the products in the table
    n_top: int  # how many of the likeliest classes are listed

    @property
    def columns(self) -> dict[str, type]:
        """The names of the columns, each with the type of its cells."""
        columns: dict[str, type] = {"id": str, "answer": str, "probability": float}
        for rank in range(2, self.n_top + 1):
            columns |= {f"answer_{rank}": str, f"probability_{rank}": float}
        columns["disagree"] = bool
        for name in self.answers.probabilities:
            columns |= {name: str, f"{name}_probability": float}
        return columns

    def cells(self) -> Iterator[list[Any]]:
        """Yield the cells of each product in the columns' order; None where there is no answer."""
        answers = self.answers
        for row in self.rows:
            nothing: list[tuple[Any, Any]] = [(None, None)] * self.n_top
            likeliest = [*answers.top(row, self.n_top), *nothing][: self.n_top]
            heads = [answers.answer_of(name, row) or (None, None) for name in answers.probabilities]
            yield [
                self.ids[row],
                *(cell for pair in likeliest for cell in pair),
                bool(answers.disagree[row]),
                *(cell for pair in heads for cell in pair),
            ]


def write_answers(path: Path | None, table: AnswerTable) -> None:
    """Write answers in the format of the path's suffix, whole or not at all; None: as CSV to stdout.

    Raises:
        HeadError: there is no such format, or its library is not installed.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # as in a file
        _write_csv(_Terminal() if sys.stdout.isatty() else sys.stdout, table)
        return
    write = FORMATS[format_of(path)]

    def write_to(aside: Path) -> None:
        with open_csv(aside) as file:
            write(file, table)

    write_aside(path, write_to, folder=path.parent)


def format_of(path: Path) -> str:
    """Return the suffix that names a file's format.

    Raises:
        HeadError: it names none.
    """
    if path.suffix.lower() not in FORMATS:
        raise HeadError(f"--output: expected a file that ends in {', '.join(FORMATS)}, got {path}.")
    return path.suffix.lower()


class _Terminal(io.StringIO):
    """Writes lines to stdout for a person to read: control characters in ids are escaped."""

    def write(self, text: str) -> int:
        return sys.stdout.write(f"{printable(text.rstrip())}\n")


def _write_csv(file: IO[str], table: AnswerTable) -> None:
    """One line a product; cells without an answer are empty."""
    writer = csv.writer(file)
    writer.writerow(table.columns)
    for cells in table.cells():
        writer.writerow([_shown(cell) for cell in cells])


def _shown(cell: str | float | bool | None) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else ""
    if isinstance(cell, float):
        return f"{cell:.6f}"
    return cell or ""


def _write_jsonl(file: IO[str], table: AnswerTable) -> None:
    """One JSON object a line, as `Prediction.to_dict` and the server give it."""
    for row in table.rows:
        prediction = table.answers.prediction(row, top=table.n_top).to_dict()
        prediction.pop("statuses")
        file.write(json.dumps(shown_values({"id": table.ids[row], **prediction}), ensure_ascii=False) + "\n")


def _write_parquet(file: io.TextIOWrapper, table: AnswerTable) -> None:
    """The columns of the CSV file, typed; nulls where there is no answer."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise HeadError("Parquet files need pyarrow. Install it with: pip install 'embed-once[parquet]'.") from error
    types = {str: pyarrow.string(), float: pyarrow.float32(), bool: pyarrow.bool_()}
    columns = list(zip(*table.cells(), strict=True)) or [() for _ in table.columns]
    arrays = [
        pyarrow.array(shown_values(cells), types[kind])
        for cells, kind in zip(columns, table.columns.values(), strict=True)
    ]
    parquet.write_table(pyarrow.table(arrays, names=list(table.columns)), file.buffer)


FORMATS: dict[str, Callable[[Any, AnswerTable], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
