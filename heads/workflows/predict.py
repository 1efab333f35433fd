"""Answering the products of a cache or of a catalogue with the heads of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import Cache
from cache.cloud.addresses import StoragePath
from heads.errors import HeadError
from heads.modules.saving.head_set import vectors_for
from heads.prediction.answer_files import AnswerTable, format_of, write_answers
from heads.prediction.answers import Answers
from heads.prediction.catalogue_cache import RawColumns, extract_for, is_cache, usual_cache_path
from heads.prediction.run import Run

__all__ = ["PredictReport", "predict"]

REVIEW = "review.csv"


@dataclass(frozen=True)
class PredictReport:
    """How many products were answered, and where the answers are."""

    head: str  # whose answer counts
    n_products: int
    n_answered: int  # by the head that counts
    fuller: str | None  # another head, which answers more
    n_fuller: int
    n_without: int  # have no vector of anything that the heads look at
    n_disagree: int | None  # None where fewer than two modalities are answered alone
    n_review: int  # are less probable than asked for
    review_path: Path | None
    cache_path: Path


def predict(
    run_path: str | Path,
    source_path: str | Path,
    output_path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    n_top: int = 3,
    threshold: float | None = None,
    is_renamed: bool = False,
    cache_path: str | Path | None = None,
    columns: RawColumns | None = None,
    device: str = "auto",
    encoders: Mapping[str, str] | None = None,
    plugins: bool = False,
    memory: str | None = None,
) -> PredictReport:
    """Answer the products of a cache, or of a catalogue, which is extracted first; without an output to stdout.

    A catalogue is extracted with the run's encoders into `cache_path`, else ``<its name>.embeddings.h5`` beside it.
    With `threshold`, products whose answer is less probable, or that have none, go to ``review.csv`` beside the output.
    Heads of a user's own class are loaded only if `plugins` allows their code to run. With `is_renamed` the columns
    that contents are made of may have other names than in training. Vectors may take `memory`, such as ``8G``; None:
    half of the machine's.

    Raises:
        RunError, HeadError: the run or a head cannot be loaded, the vectors are from another encoder, or the answers
            would take the place of the catalogue or of the review.
        CatalogueError, WeightsError, CacheError: the catalogue, an encoder or the cache cannot be read; or vectors take
            more than `memory`.
    """
    source_path = StoragePath(source_path)
    output = None if output_path is None else Path(output_path)
    if output is not None:
        _check_output(output, source_path, has_review=threshold is not None)  # before any work
    run = Run(run_path, heads=names, device=device, encoders=encoders, plugins=plugins)
    absent: frozenset[str] = frozenset()
    is_catalogue = not is_cache(source_path)
    vectors_path: Path = source_path
    if is_catalogue:
        vectors_path = usual_cache_path(source_path) if cache_path is None else StoragePath(cache_path)
        _check_apart(vectors_path, run, source_path)
        absent = extract_for(run, source_path, vectors_path, columns=columns)
        is_renamed = True  # the extraction chose columns as in training, except for their names
    with Cache(vectors_path) as cache:
        ids = cache.ids()
        vectors = vectors_for(
            list(run.heads.values()), cache, is_renamed=is_renamed, without=absent, may_lack_columns=is_catalogue,
            memory=memory,
        )  # fmt: skip
    answers = run.answers(vectors)
    is_doubtful = np.zeros(len(ids), dtype=bool)
    review_path = None
    if threshold is not None:
        is_doubtful = ~answers.answered[run.head] | (answers.confidence < threshold)
        review_path = (output.parent if output is not None else Path()) / REVIEW
    write_answers(output, AnswerTable(ids, answers, np.flatnonzero(~is_doubtful).tolist(), n_top))
    if review_path is not None:
        write_answers(review_path, AnswerTable(ids, answers, np.flatnonzero(is_doubtful).tolist(), n_top))
    return _report(run, answers, is_doubtful, review_path=review_path, cache_path=vectors_path)


def _report(
    run: Run, answers: Answers, is_doubtful: np.ndarray, *, review_path: Path | None, cache_path: Path
) -> PredictReport:
    """Return how many products were answered, and whether another head answers more of them."""
    n_answered = {name: int(is_answered.sum()) for name, is_answered in answers.answered.items()}
    n_fuller = max(n_answered.values())
    fuller = run.best_of([name for name in n_answered if n_answered[name] == n_fuller])
    return PredictReport(
        head=run.head,
        n_products=len(is_doubtful),
        n_answered=n_answered[run.head],
        fuller=fuller if n_fuller > n_answered[run.head] else None,
        n_fuller=n_fuller,
        n_without=int((~np.stack(list(answers.answered.values())).any(0)).sum()),
        n_disagree=int(answers.disagree.sum()) if len(answers.modalities) > 1 else None,
        n_review=int(is_doubtful.sum()),
        review_path=review_path,
        cache_path=cache_path,
    )


def _check_apart(vectors_path: Path, run: Run, source_path: Path) -> None:
    """Check that a catalogue's vectors do not go into the training's cache, whose products they would replace.

    Raises:
        HeadError: they do.
    """
    if run.cache_path is not None and os.path.realpath(vectors_path) == os.path.realpath(run.cache_path):
        raise HeadError(
            f"--cache: expected another cache than that of the training, got {vectors_path}: the products of "
            f"{source_path} would take the place of its own. Name another, or name it instead of {source_path}."
        )


def _check_output(output: Path, source_path: Path, *, has_review: bool) -> None:
    """Check that the answers have a format, and a file that is not that of the products or of the review.

    Raises:
        HeadError: they do not.
    """
    format_of(output)
    other_paths = {source_path: "what is answered"} | (
        {output.with_name(REVIEW): "what is to be looked at"} if has_review else {}
    )
    for path, content in other_paths.items():
        if os.path.realpath(path) == os.path.realpath(output):
            raise HeadError(f"--output: expected another file than that of {content}, got {output}. Name another.")
