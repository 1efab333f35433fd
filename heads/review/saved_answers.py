"""The answers to a review page, saved one by one in the file that the page would else download."""

from __future__ import annotations

import csv
import fcntl
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cache.columns.labels import clean_label
from cache.pages.page import script_source
from cache.system.aside import write_aside
from cache.system.stray_bytes import open_csv
from heads.data.corrections import COLUMNS, read_corrections
from heads.errors import SettingError
from heads.review.review_files import SCRIPT
from heads.typed_json import read_plain_file

__all__ = ["MOST_LABEL_CHARACTERS", "SavedAnswers"]

MOST_LABEL_CHARACTERS = 500  # of a new class, as the page's own field
# What is replaced in the page by what, so that it may ask its server, and knows where to save answers.
FETCHES = ("default-src 'none'; img-src data:", "default-src 'none'; connect-src 'self'; img-src data:")
SAVES = ('<ol class="picks"', '<ol class="picks" data-save="{address}"')


class SavedAnswers:
    """A page that `heads-review` wrote, and the file of its answers beside it.

    Each answer is written before it is confirmed: the file is written anew aside and put in place whole. Its lines on
    other products stay, whoever wrote them and when.

    Raises:
        SettingError: the page is none that this version wrote.
        LabelError: the file of answers is no table of corrections.
        UnreadableError: the system cannot read one of the two.
    """

    def __init__(self, page_path: str | Path) -> None:
        self.page_path = Path(page_path).absolute()
        try:
            page = read_plain_file(self.page_path).decode()
            page = page.replace("\r\n", "\n").replace("\r", "\n")  # as a browser reads it
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise SettingError(
                f"--review: expected a page that heads-review wrote, but {page_path} is none. Name another."
            ) from error
        self.script_source = script_source(SCRIPT.read_text(encoding="utf-8"))
        if not (f"script-src '{self.script_source}'" in page and all(part[0] in page for part in (FETCHES, SAVES))):
            raise SettingError(
                f"--review: expected a page that heads-review of this version wrote, got {self.page_path.name}. Make "
                "one anew, with the labels so far as --corrections."
            )
        self._page = page
        self._products = {html.unescape(product_id) for product_id in re.findall(r'<li data-product="([^"]*)"', page)}
        self._classes = set(json.loads(_attribute(page, "classes")))
        self._earlier = {str(product): str(label) for product, label in json.loads(_attribute(page, "earlier"))}
        self.path = self.page_path.with_name(Path(_attribute(page, "file")).name)
        self._lock = threading.Lock()
        self._read()

    def page(self, address: str) -> bytes:
        """Return the page, changed to save answers at an address of its server."""
        fetches = self._page.replace(*FETCHES, 1)
        return fetches.replace(SAVES[0], SAVES[1].format(address=address), 1).encode()

    def labels(self) -> dict[str, str]:
        """Return the labels that the products of the page have in the file.

        Raises:
            LabelError, UnreadableError: the file cannot be read any more.
        """
        return {product: label for product, label in self._read().items() if product in self._products}

    def check(self, answers: Any) -> dict[str, str | None]:
        """Return answers, [[product, label], ...], as {product: label}, None for a label that is taken back.

        Raises:
            SettingError: they are not pairs of this page's products and labels that may be saved.
        """
        if not isinstance(answers, list) or not all(
            isinstance(answer, list) and len(answer) == 2 for answer in answers
        ):
            raise SettingError("Expected answers to be a list of [product, label], got something else.")
        checked: dict[str, str | None] = {}
        for product, label in answers:
            if not isinstance(product, str) or product not in self._products:
                raise SettingError(f"Expected a product of {self.page_path.name}, got {str(product)[:80]!r}.")
            if not (label is None or _is_label(label) or (isinstance(label, str) and label in self._classes)):
                raise SettingError(
                    f"Expected a class of the page, a new one of 1 to {MOST_LABEL_CHARACTERS} characters, or null, got "
                    f"{str(label)[:80]!r}."
                )
            checked[product] = label if label is None else clean_label(label)
        return checked

    def save(self, answers: Mapping[str, str | None]) -> int:
        """Put answers into the file, and return how many labels it has then.

        Raises:
            LabelError, UnreadableError: the file cannot be read any more.
            OSError: it cannot be written; it is as it was.
        """
        with self._exclusive():
            saved = self._read()
            # Earlier labels start a new file only: whoever deletes their lines from a file wants them gone.
            merged: dict[str, str | None] = {**(saved if self.path.exists() else self._earlier), **answers}
            labels = {product: label for product, label in merged.items() if label is not None}
            if labels != saved:
                write_aside(self.path, lambda aside: _write(aside, labels), folder=self.path.parent)
            return len(labels)

    def _read(self) -> dict[str, str]:
        return dict(read_corrections(self.path).labels) if self.path.exists() else {}

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one thread at a time read the file and write it anew, also among several servers of the same page."""
        with self._lock, self.page_path.open("rb") as page:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(page, fcntl.LOCK_EX)
            yield


def _attribute(page: str, name: str) -> str:
    """Return a data attribute of the page; its value is escaped, so that the next quote ends it."""
    return html.unescape(re.findall(rf'<ol class="picks"[^>]* data-{name}="([^"]*)"', page)[0])


def _is_label(label: Any) -> bool:
    """Return whether a label is one that the file can hold and be read with again."""
    is_text = isinstance(label, str) and not re.search("[\0\ud800-\udfff]", label)
    return is_text and 1 <= len(clean_label(label)) <= MOST_LABEL_CHARACTERS


def _write(path: Path, labels: Mapping[str, str]) -> None:
    with open_csv(path) as file:
        csv.writer(file).writerows([COLUMNS, *labels.items()])
