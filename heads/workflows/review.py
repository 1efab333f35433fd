"""A review: the products that a person should label next, chosen and written as a page and a table."""

from __future__ import annotations

import logging
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import Cache
from cache.cloud.addresses import StoragePath
from cache.columns.labels import clean_label
from heads.data.corrections import Corrections, read_corrections
from heads.data.encoder_sets import one_encoder
from heads.data.label_notes import alike_notes, nothing_note, words_for_nothing
from heads.data.labels import cells_of, find_label_column, read_labels
from heads.data.modalities import choose_modalities
from heads.errors import LabelError
from heads.reports.picture_folder import find_picture_folder, no_pictures_note
from heads.reports.report_settings import ReportColumns, ReportSettings, choose_columns
from heads.reports.thumbnails import Thumbnails
from heads.review.candidates import Candidates, find_candidates
from heads.review.joined_vectors import join_vectors
from heads.review.known_labels import KnownLabels, collect_labels
from heads.review.picks import Pick, choose_picks
from heads.review.review_files import AskedProduct, ReviewPage, free_path, write_review
from heads.review.review_settings import ReviewSettings

__all__ = ["ReviewReport", "review_products"]

log = logging.getLogger("embed_once")

PICTURE_SIDE = 320  # pixels
MOST_CHARACTERS = 400  # of a title
FIRST = "They are the middles of as many clusters: nothing is known yet."
LATER = "They are those of which a quick head is least sure, unlike each other, rare classes first."


@dataclass(frozen=True)
class ReviewReport:
    """How many products are asked for and how many are not, and the files."""

    page_path: Path
    table_path: Path
    label: str
    classes: list[str]
    n_products: int
    n_labelled: int
    n_asked: int
    n_candidates: int  # products that might have been asked for, including those that are
    n_copies: int  # not asked for, as copies of candidates or of labelled products
    n_placeholders: int  # not asked for, as they have nothing but placeholders
    n_without_vector: int
    how: str
    notes: list[str]
    elapsed_s: float


def review_products(
    cache_path: str | Path = "embeddings.h5",
    output_path: str | Path | None = None,
    *,
    settings: ReviewSettings | None = None,
    report: ReportSettings | None = None,
) -> ReviewReport:
    """Choose the products to label next, write them as a page and as a table beside it, and return what was done.

    The output is by default ``review-001.html``, or the next number that is free, in the working folder.

    Raises:
        CacheError: the cache cannot be read, lacks a modality or an encoder, or its vectors take too much memory.
        LabelError: there is no column to fill, or no product that lacks a label can be asked for.
        SettingError: a column or the output cannot be what was asked for.
    """
    settings, report = settings or ReviewSettings(), report or ReportSettings()
    started = time.monotonic()
    cache_path = StoragePath(cache_path)
    with Cache(cache_path) as cache:
        columns = choose_columns(cache, report)
        modalities, notes = choose_modalities(cache, settings.modalities)
        for modality in settings.encoders:
            cache.encoders(modality)  # raises where the cache has no such modality
        encoders = {name: one_encoder(cache, name, settings.encoders.get(name)) for name in sorted(modalities)}
        corrections = read_corrections(settings.corrections) if settings.corrections is not None else None
        known_labels, label_notes = _read_labels(cache, settings, corrections)
        vectors, has_vector = join_vectors(cache, encoders, memory=settings.memory)
        candidates = find_candidates(
            cache,
            known_labels,
            encoders=encoders,
            has_vector=has_vector,
            column=settings.group_column,
            cosine=settings.near_duplicates,
        )
        _check_candidates(candidates, known_labels)
        picks = choose_picks(
            vectors, known_labels, candidates.rows, settings.count, np.random.default_rng(settings.seed)
        )
        products = _shown_products(cache, picks, columns, root=report.image_root or cache_path.parent)
    how = LATER if picks[0].likely else FIRST
    page = ReviewPage(
        label=known_labels.column,
        classes=known_labels.classes,
        products=products,
        earlier=list(corrections.labels.items()) if corrections else [],
        how=how,
        n_more=len(candidates.rows) - len(picks),
        next_lines=_next_lines(str(cache_path), known_labels.column, settings),
    )
    output = free_path(Path()) if output_path is None else Path(output_path)
    page_path, table_path = write_review(page, output)
    return ReviewReport(
        page_path=page_path,
        table_path=table_path,
        label=known_labels.column,
        classes=known_labels.classes,
        n_products=len(known_labels.targets),
        n_labelled=int((known_labels.targets >= 0).sum()),
        n_asked=len(picks),
        n_candidates=len(candidates.rows),
        n_copies=candidates.n_copies,
        n_placeholders=candidates.n_placeholders,
        n_without_vector=candidates.n_without_vector,
        how=how,
        notes=[*label_notes, *notes],
        elapsed_s=time.monotonic() - started,
    )


def _read_labels(
    cache: Cache, settings: ReviewSettings, corrections: Corrections | None
) -> tuple[KnownLabels, list[str]]:
    """Return the labels of the column to fill, with corrections, and notes on these, or that the column is new."""
    column = find_label_column(cache, settings.label, may_be_new=True)
    notes = []
    if column not in cache.columns():
        unlabelled = f"all {len(cache):,} products are unlabelled"
        notes.append(f"No column {column} yet: {'its labels are the answers so far' if corrections else unlabelled}.")
    labels = read_labels(cells_of(cache, column))
    if corrections is not None:
        labels, changes = corrections.applied(labels, cache.ids())
        notes += changes
    counts = Counter(label for label in labels.tolist() if label)
    notes += alike_notes({*counts, *map(clean_label, settings.classes)})
    if words := words_for_nothing(counts):
        notes.append(f"{nothing_note(words, counts)} Empty the cells that are to have no label yet.")
    return collect_labels(column, labels.tolist(), settings.classes), notes


def _check_candidates(candidates: Candidates, known_labels: KnownLabels) -> None:
    """Check that there are products to ask for.

    Raises:
        LabelError: there are none.
    """
    if not len(candidates.rows):
        raise LabelError(
            f"Expected some products without a label in {known_labels.column!r}, got none that may be asked for: "
            f"{int((known_labels.targets >= 0).sum())} of {len(known_labels.targets)} have one, {candidates.n_copies} "
            f"are copies of those, {candidates.n_placeholders} have a placeholder, and {candidates.n_without_vector} "
            "no vector. Name another --label; heads-audit looks for labels that are wrong."
        )


def _shown_products(cache: Cache, picks: Sequence[Pick], columns: ReportColumns, *, root: Path) -> list[AskedProduct]:
    """Return the products with their titles and pictures."""
    ids = cache.id_column()
    images, titles = (cache.column(name) if name is not None else None for name in (columns.image, columns.title))
    thumbnails = Thumbnails(find_picture_folder(cache, images or [], root), side=PICTURE_SIDE)
    products = []
    for pick in picks:
        title = titles[pick.row] if titles else ""
        products.append(
            AskedProduct(
                product=ids[pick.row],
                title=title if len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…",
                picture=thumbnails.url(images[pick.row]) if images else None,
                pick=pick,
            )
        )
    if images and columns.image is not None and not any(product.picture for product in products):
        cells = [images[pick.row] for pick in picks]
        log.info("The page shows no pictures. %s", no_pictures_note(columns.image, cells))
    return products


def _next_lines(cache_path: str, label: str, settings: ReviewSettings) -> list[str]:
    """Return the commands for when all products are labelled; ``{labels}`` stands for the file of the labels."""
    common = [cache_path, "--label", label]
    for modality, encoder in settings.encoders.items():
        common += ["--encoder", f"{modality}={encoder}"]
    for option, value in (
        ("--modalities", ",".join(settings.modalities or ())),
        ("--group-column", settings.group_column),
        ("--near-duplicates", settings.near_duplicates),
    ):
        common += [option, str(value)] if value else []
    classes = ["--classes", ",".join(settings.classes)] if settings.classes else []
    lines = [shlex.join(words).replace("{", "{{").replace("}", "}}") for words in (common, [*common, *classes])]
    return [
        f"{command} {line} --corrections {{labels}}"
        for command, line in zip(("heads-train", "heads-review"), lines, strict=True)
    ]
