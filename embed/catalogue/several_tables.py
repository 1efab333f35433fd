"""Several tables of the same columns as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from embed.catalogue.bad_lines import N_EXAMPLES, BadLines
from embed.catalogue.split_names import SPLIT, splits_of_files
from embed.catalogue.table import Table
from embed.errors import CatalogueError

__all__ = ["SeveralTables"]


class SeveralTables:
    """The rows of tables one after another, {file: table}; columns may stand in another order.

    Where their files' names say splits, so does a column ``split``, unless they have one.

    Raises:
        CatalogueError: one has other columns than the first.
    """

    def __init__(self, path: Path, tables: dict[Path, Table]) -> None:
        self.path = path
        self.tables = tables
        first_file, *other_files = tables
        self.columns = tables[first_file].columns
        for file in other_files:
            lacking = _without(self.columns, tables[file].columns)
            extra = _without(tables[file].columns, self.columns)
            if lacking or extra:
                parts = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(extra)} too"] * bool(extra)
                raise CatalogueError(
                    f"Expected the tables of {path} to have the same columns, but {file} {' and '.join(parts)}, other "
                    f"than {first_file}. Name one of them, or give all the same columns; --labels joins one by id."
                )
        self._splits = {} if SPLIT in self.columns else splits_of_files(tables.keys())
        self.columns = [*self.columns, *([SPLIT] if self._splits else [])]

    @property
    def bad_lines(self) -> BadLines:
        """What was left out of all of them."""
        by_file = {file: table.bad_lines for file, table in self.tables.items()}
        examples = [
            (number, f"of {file.name} {reason}") for file, lines in by_file.items() for number, reason in lines.examples
        ]
        unit = next(iter(by_file.values())).unit
        return BadLines(
            self.path, unit=unit, count=sum(lines.count for lines in by_file.values()), examples=examples[:N_EXAMPLES]
        )

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Yield the rows table by table, each column a list of cells."""
        for file, table in self.tables.items():
            for batch in table.batches():
                if self._splits:
                    batch[SPLIT] = [self._splits[file]] * len(next(iter(batch.values())))
                yield {name: batch[name] for name in self.columns}


def _without(names: Sequence[str], excluded: Sequence[str]) -> list[str]:
    return [name for name in names if name not in set(excluded)]
