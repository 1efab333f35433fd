"""Products of the test rows with their pictures and titles, and what each head answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cache import Cache
from cache.errors import CacheError
from heads.experiment.findings.predictions import Predictions
from heads.experiment.problem import Problem
from heads.reports.picture_folder import find_picture_folder, no_pictures_note
from heads.reports.report_settings import ReportColumns
from heads.reports.thumbnails import Thumbnails

__all__ = ["Card", "Gallery", "HeadAnswer", "choose_mistakes", "choose_samples", "show_products"]

N_CARDS = 12
MOST_CHARACTERS = 160  # of a title

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class HeadAnswer:
    """A head's answer to a product; empty where the product has no vector of what the head sees."""

    head: str
    answer: str
    confidence: float
    is_right: bool


@dataclass(frozen=True)
class Card:
    """A product: its id, title, picture (a data URL), class, and the heads' answers."""

    product_id: str
    title: str
    picture: str | None
    truth: str
    answers: list[HeadAnswer]


@dataclass(frozen=True)
class Gallery:
    """Some products, the surest mistakes on others, and why there is no picture where there is none."""

    samples: list[Card]
    mistakes: list[Card]
    note: str

    @property
    def has_pictures(self) -> bool:
        """Whether any product has a picture; where none has, the page leaves no room for them."""
        return any(card.picture for card in (*self.samples, *self.mistakes))


def choose_samples(n_rows: int, generator: np.random.Generator) -> np.ndarray:
    """Return some positions among the test rows, drawn at random, in ascending order."""
    return np.sort(generator.permutation(n_rows)[:N_CARDS])


def choose_mistakes(predictions: Predictions, targets: np.ndarray) -> np.ndarray:
    """Return the positions of a head's surest mistakes, the surest first; answers to what it cannot see do not count.

    Shape:
        targets: (n,) int64
    """
    wrong = np.flatnonzero((predictions.classes != targets) & predictions.is_known)
    return wrong[np.argsort(-predictions.confidences[wrong], kind="stable")][:N_CARDS]


def show_products(
    problem: Problem,
    answers: Mapping[str, Predictions],
    *,
    best: str,
    cache_path: Path,
    columns: ReportColumns,
    image_root: Path | None,
) -> Gallery:
    """Return some test rows drawn at random, and the surest mistakes of the best head.

    The cache is opened again for that, so that the cells of all products are not in memory while heads are trained.
    """
    test = problem.test_rows
    targets = problem.labels.targets[test]
    samples, mistakes = choose_samples(len(test), np.random.default_rng(0)), choose_mistakes(answers[best], targets)
    rows = test[np.concatenate([samples, mistakes])]
    root = image_root or cache_path.parent
    cells, folder = _read_cells(cache_path, problem.content_sha256, columns, rows, root=root)
    thumbnails = Thumbnails(folder)

    def card(position: int) -> Card:
        row = int(test[position])
        image, title = cells.get(row, ("", ""))
        return Card(
            product_id=problem.ids[row],
            title=title if len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…",
            picture=thumbnails.url(image),
            truth=problem.labels.classes[targets[position]],
            answers=[
                _head_answer(head, predictions, position, targets, problem.labels.classes)
                for head, predictions in answers.items()
            ],
        )

    sample_cards, mistake_cards = (
        [card(position) for position in positions.tolist()] for positions in (samples, mistakes)
    )
    gallery = Gallery(sample_cards, mistake_cards, "")
    if not cells:
        note = "The cache was written anew since, or could not be read: pictures and titles are left out."
    elif columns.image is None:
        note = "The catalogue has no column of pictures; --image-column names one."
    elif gallery.has_pictures:
        return gallery
    else:
        note = no_pictures_note(columns.image, [image for image, _ in cells.values()])
    log.info("The report shows no pictures. %s", note)
    return replace(gallery, note=note)


def _head_answer(
    head: str, predictions: Predictions, position: int, targets: np.ndarray, classes: list[str]
) -> HeadAnswer:
    if not predictions.is_known[position]:
        return HeadAnswer(head, "", 0.0, is_right=False)
    code = predictions.classes[position]
    return HeadAnswer(
        head, classes[code], float(predictions.confidences[position]), is_right=bool(code == targets[position])
    )


def _read_cells(
    cache_path: Path, content_sha256: str, columns: ReportColumns, rows: np.ndarray, *, root: Path
) -> tuple[dict[int, tuple[str, str]], Path]:
    """Return the cells of image and title of some rows, {row: (image, title)}, and the folder of the images.

    There are no cells where the cache has other content by now.
    """
    try:
        with Cache(cache_path) as cache:
            if cache.content_sha256 != content_sha256:
                return {}, root
            names = (columns.image, columns.title)
            images, titles = (cache.column(name) if name is not None else None for name in names)
            folder = find_picture_folder(cache, images or [], root)
    except (CacheError, OSError):  # it was taken away, or is being replaced
        return {}, root
    cells = {row: (images[row] if images else "", titles[row] if titles else "") for row in rows.tolist()}
    return cells, folder
