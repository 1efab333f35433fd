"""A condition on a row's cells, ``gender == 'Men' and price < 20``, in a small language of its own; no code is run.

==================  ==================================================================================================
``name``            the cell of this column; in backticks where the name is no word: ``(`base colour` == 'Red')``
``'Men'``           text; the other side is compared as text
``12``, ``-0.5``    a number; the other side is compared as a number. A cell that is no number is unequal to each, and
                    neither less nor greater; ``1,299.00``, ``20%`` and ``$5`` are no numbers
``a < b``           two columns: in rows where both cells are numbers as these, else as text
``==  !=``          equal, unequal
``<  <=  >  >=``    of text by its characters' code points
``in``, ``not in``  in a list: ``season in ('Summer', 'Fall')``; a text in a cell: ``'Shirt' in title``
``and  or  not``    and parentheses
==================  ==================================================================================================
"""

from __future__ import annotations

import ast
import logging
import operator
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cache.columns.column_types import parse_numbers
from embed.catalogue.table import Table
from embed.errors import SettingError

__all__ = ["Where", "batches_where"]

log = logging.getLogger("embed_once")

MOST_CHARACTERS = 10_000
MOST_UNREAD = 10_000  # different cells that are no plain numbers, and counted
OPERATORS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip

_BACKTICKS = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`([^`]*)`""")

Value = str | int | float
Rows = dict[str, list[str]]


class Where:
    """A condition, parsed and checked against a table's columns.

    >>> Where("price < 20 and brand != 'Alba'", ["brand", "price"]).holds({"brand": ["Alba", "Z"], "price": ["7", "8"]})
    [False, True]

    Raises:
        SettingError: it is none of this language, or names a column that is not there.
    """

    def __init__(self, condition: str, columns: Sequence[str]) -> None:
        self.condition = condition
        self.columns = columns
        self._quoted: list[str] = []
        self._numbers_by_column: dict[str, list[int | float]] = {}  # of the rows that are looked at
        self._is_told = False
        self._unread: dict[str, dict[str, int]] = {}  # column -> cells that are numbers, but none of this language
        text = _BACKTICKS.sub(self._stand_in, condition.strip())
        try:
            if len(text) > MOST_CHARACTERS:
                raise ValueError(f"it has more than {MOST_CHARACTERS} characters")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Python finds odd in it
                self._tree = ast.parse(text, mode="eval").body
            self._holds(self._tree, {name: [] for name in columns})  # of no rows: that checks every part
        except SettingError:
            raise
        except SyntaxError as error:
            raise self._wrong(f"{error.msg} (equal is ==)") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._wrong(str(error) or type(error).__name__) from error

    def rows(self, rows: Rows) -> list[int]:
        """Return the indices of the rows for which the condition holds."""
        return [row for row, holds in enumerate(self.holds(rows)) if holds]

    def holds(self, rows: Rows) -> list[bool]:
        """Return for each of the rows whether the condition holds."""
        self._numbers_by_column = {}
        try:
            return self._holds(self._tree, rows)
        except RecursionError as error:
            raise self._wrong("it is nested too deeply") from error

    def tell(self) -> None:
        """Warn once of the cells seen that metadata takes for numbers, and this language does not."""
        unread = {} if self._is_told else self._unread
        for column, cells in unread.items():
            n_rows, example = sum(cells.values()), next(iter(cells))
            log.warning(
                "--where takes %d cells of %s for no numbers, such as %r: they are unequal to each number, and neither "
                "less nor greater. Write plain numbers (%.15g) in a column of the catalogue to compare them.",
                n_rows, column, example, parse_numbers([example])[0],
            )  # fmt: skip
        self._unread, self._is_told = {}, True

    def _comparable(self, node: ast.expr, value: Value, rows: Rows) -> Sequence[Value]:
        """Return a column's cells as text where the value that they are compared with is text, else as numbers."""
        return rows[self._column(node)] if isinstance(value, str) else self._numbers(node, rows)

    def _numbers(self, node: ast.expr, rows: Rows) -> list[int | float]:
        """Return a column's cells as numbers, and count those that are numbers for metadata, and NaN here."""
        name = self._column(node)
        if name in self._numbers_by_column:
            return self._numbers_by_column[name]
        numbers = self._numbers_by_column[name] = [_number(cell) for cell in rows[name]]
        nan_cells = Counter(cell for cell, number in zip(rows[name], numbers, strict=True) if number != number and cell)
        are_formatted = np.isfinite(parse_numbers(list(nan_cells)))  # such as 1,299.00
        if are_formatted.any():
            unread = self._unread.setdefault(name, {})
            for cell, is_formatted in zip(nan_cells, are_formatted.tolist(), strict=True):
                if is_formatted and (cell in unread or len(unread) < MOST_UNREAD):
                    unread[cell] = unread.get(cell, 0) + nan_cells[cell]
        return numbers

    def _stand_in(self, match: re.Match[str]) -> str:
        """Return a word that Python can parse for a column's name in backticks."""
        if match[1] is not None:
            return match[1]  # a text, whatever is in it
        self._quoted.append(match[2])
        return f"__column_{len(self._quoted) - 1}__"

    def _column(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            raise self._wrong(f"{ast.unparse(node)} is no column's name, which stands in backticks where it is no word")
        name = node.id
        if (match := re.fullmatch(r"__column_(\d+)__", name)) and int(match[1]) < len(self._quoted):
            name = self._quoted[int(match[1])]
        if name not in self.columns:
            raise self._wrong(f"{name} is none of the columns ({', '.join(self.columns)}); text stands in quotes")
        return name

    def _literal(self, node: ast.expr) -> Value:
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
        value = inner.value if isinstance(inner, ast.Constant) else None
        if isinstance(value, str) and not negative:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value if negative else value
        raise self._wrong(f"{ast.unparse(node)} is neither a number nor text in quotes")

    def _holds(self, node: ast.expr, rows: Rows) -> list[bool]:
        """Return for each of the rows whether a part of the condition holds."""
        match node:
            case ast.BoolOp():
                combine = all if isinstance(node.op, ast.And) else any
                parts = [self._holds(part, rows) for part in node.values]
                return [combine(row) for row in zip(*parts, strict=True)]
            case ast.UnaryOp(op=ast.Not()):
                return [not holds for holds in self._holds(node.operand, rows)]
            case ast.Compare():
                sides = [node.left, *node.comparators]
                parts = [
                    self._compared(left, relation, right, rows)
                    for left, relation, right in zip(sides, node.ops, sides[1:], strict=False)
                ]
                return [all(row) for row in zip(*parts, strict=True)]
        raise self._wrong(f"{ast.unparse(node)} is no comparison")

    def _compared(self, left: ast.expr, relation: ast.cmpop, right: ast.expr, rows: Rows) -> list[bool]:
        """Return for each of the rows whether a relation holds between two columns, or one and a literal."""
        if isinstance(relation, ast.In | ast.NotIn):
            contained = self._contained(left, right, rows)
            return contained if isinstance(relation, ast.In) else [not is_in for is_in in contained]
        compare = OPERATORS.get(type(relation))
        if compare is None:
            raise self._wrong("is and is not compare nothing here: write == and !=")
        if isinstance(left, ast.Name) and isinstance(right, ast.Name):
            pairs = zip(rows[self._column(left)], rows[self._column(right)], strict=True)
            return [_compare_cells(compare, left_cell, right_cell) for left_cell, right_cell in pairs]
        if isinstance(left, ast.Name):
            value = self._literal(right)
            return [compare(cell, value) for cell in self._comparable(left, value, rows)]
        value = self._literal(left)
        return [compare(value, cell) for cell in self._comparable(right, value, rows)]

    def _contained(self, left: ast.expr, right: ast.expr, rows: Rows) -> list[bool]:
        """Return for each of the rows whether its cell is in a list of literals, or a text in its cell."""
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            cells, items = rows[self._column(left)], [self._literal(item) for item in right.elts]
            texts = {item for item in items if isinstance(item, str)}
            numbers = {item for item in items if not isinstance(item, str)}
            if not numbers:
                return [cell in texts for cell in cells]
            cell_numbers = self._numbers(left, rows)
            return [cell in texts or number in numbers for cell, number in zip(cells, cell_numbers, strict=True)]
        cells, text = rows[self._column(right)], self._literal(left)
        if not isinstance(text, str):
            raise self._wrong(f"{ast.unparse(left)} is no text in quotes")
        return [text in cell for cell in cells]

    def _wrong(self, reason: str) -> SettingError:
        return SettingError(
            f"--where: expected a condition such as gender == 'Men' and price < 20, got {self.condition!r}: {reason}."
        )


def batches_where(table: Table, condition: Where | None) -> Iterator[tuple[int, Sequence[int], Rows]]:
    """Yield by batches the rows of a table for which the condition holds: their numbers, from 0, and their cells.

    The first of the three is how many rows of the table were read by then, those for which it does not hold too.
    """
    n_rows = 0
    for batch in table.batches():
        start, n_rows = n_rows, n_rows + len(batch[table.columns[0]])
        if condition is None:
            yield n_rows, range(start, n_rows), batch
            continue
        rows = condition.rows(batch)
        yield (
            n_rows,
            [start + row for row in rows],
            {name: [cells[row] for row in rows] for name, cells in batch.items()},
        )
    if condition is not None:
        condition.tell()


def _compare_cells(compare: Callable[[Any, Any], bool], left: str, right: str) -> bool:
    """Return what two cells give, compared as numbers if both are such, else as text."""
    numbers = _number(left), _number(right)
    return compare(left, right) if any(number != number for number in numbers) else compare(*numbers)


def _number(cell: str) -> int | float:
    """Return a cell's number; NaN, which equals nothing and is neither less nor greater, where it is none."""
    if "_" in cell:
        return float("nan")  # Python would take it
    try:
        return int(cell)
    except ValueError:
        try:
            return float(cell)
        except ValueError:
            return float("nan")
