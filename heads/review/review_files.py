"""The files of a review: a page to label products on, and a table of the same products."""

from __future__ import annotations

import csv
import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.pages.page import render_page
from cache.shares import percent
from cache.system.aside import write_aside
from cache.system.stray_bytes import open_csv
from heads.errors import SettingError
from heads.review.picks import Pick

__all__ = ["AskedProduct", "ReviewPage", "free_path", "write_review"]

TEMPLATE = Path(__file__).with_name("review.html")
SCRIPT = Path(__file__).with_name("review.js")
COLUMNS = ("product", "label", "suggested", "probability", "why", "title")
EARLIER = "labelled before"


@dataclass(frozen=True)
class AskedProduct:
    """A product as the page shows it: its id, title, picture (a data URL), and what the review says of it."""

    product: str
    title: str
    picture: str | None
    pick: Pick

    @property
    def reason(self) -> str:
        """The reason to ask for it."""
        return self.pick.reason

    @property
    def likely(self) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities, the likeliest first."""
        return self.pick.likely

    @property
    def shares(self) -> list[tuple[str, str]]:
        """The same with probabilities in percent, as the page shows them."""
        return [(label, percent(probability, 0)) for label, probability in self.likely]


@dataclass(frozen=True)
class ReviewPage:
    """The content of the page: the products, the classes to choose from, and the labels that were given before."""

    label: str
    classes: list[str]
    products: Sequence[AskedProduct]
    earlier: Sequence[tuple[str, str]]  # (product, label)
    how: str  # how the products were chosen, in a sentence
    n_more: int  # products that might have been asked for, too
    next_lines: list[str]  # commands for when all is answered; {labels} is the name of the labels' file


def free_path(folder: Path) -> Path:
    """Return the first of ``review-001.html``, ``review-002.html``, … that is free and whose table is."""
    numbered = (folder / f"review-{number:03}.html" for number in range(1, 1_000_000))
    return next(path for path in numbered if not path.exists() and not path.with_suffix(".csv").exists())


def write_review(page: ReviewPage, path: Path) -> tuple[Path, Path]:
    """Write the page to `path` and the table beside it, each whole or not at all; return both paths.

    Raises:
        SettingError: the path is no page's, or one of the files exists: somebody's answers may belong to it.
        OSError: a file cannot be written.
    """
    path = path.absolute()
    table_path = path.with_suffix(".csv")
    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--output: expected a page's name such as review.html, got {path.name}.")
    if existing := [file.name for file in (path, table_path) if file.exists()]:
        raise SettingError(
            f"--output: expected a page and a table that are not there yet, got {' and '.join(existing)}. Name "
            "another, or leave it out."
        )
    names = [page.label, *(product.product for product in page.products)]
    labels_name = f"{path.stem}-labels.csv"
    html = render_page(
        TEMPLATE,
        script_path=SCRIPT,
        label=page.label,
        classes=page.classes,
        picks=page.products,
        earlier=page.earlier,
        how=page.how,
        n_more=page.n_more,
        next_lines=[line.format(labels=shlex.quote(labels_name)) for line in page.next_lines],
        file_name=labels_name,
        review=hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:16],
    )
    write_aside(table_path, lambda aside: _write_table(aside, page), folder=path.parent)
    write_aside(path, lambda aside: aside.write_text(html, encoding="utf-8"), folder=path.parent)
    return path, table_path


def _write_table(path: Path, page: ReviewPage) -> None:
    """Write a line a product, and the labels that were given before, so that the last table holds all.

    Cells are written as they are, to be joined on.
    """
    with open_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for product in page.products:
            suggested, probability = product.likely[0] if product.likely else ("", None)
            shown = "" if probability is None else f"{probability:.3f}"
            writer.writerow([product.product, "", suggested, shown, product.reason, re.sub(r"\s+", " ", product.title)])
        writer.writerows([product, label, "", "", EARLIER, ""] for product, label in page.earlier)
