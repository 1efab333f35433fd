"""A problem whose training rows show a view of their picture, drawn anew in each epoch (`heads.data.picture_views`)."""

from __future__ import annotations

import logging
from dataclasses import replace

from cache import Cache
from cache.system.memory_budget import check_memory
from heads.data.encoder_sets import split_name
from heads.data.picture_views import IMAGE, load_views, view_names
from heads.errors import HeadError
from heads.experiment.problem import Problem

__all__ = ["with_views"]

log = logging.getLogger("embed_once")


def with_views(cache: Cache, problem: Problem, *, memory: str | None) -> Problem:
    """Return the problem with the views of its image encoders, one of which each training row shows.

    Raises:
        HeadError: there are no pictures, the vectors stay on the disk, or the cache has no views of them.
        CacheError: they take more than `memory`.
    """
    encoders = problem.encoders.get(IMAGE, [])
    if not encoders or any(len(split_name(cache, IMAGE, name)) > 1 for name in encoders):
        raise HeadError(
            f"--views: expected heads to look at one image encoder, got {', '.join(encoders) or 'none'}. Name one with "
            "--encoder image=NAME, or leave --views out."
        )
    views, notes = {}, []
    for name in encoders:
        vectors = problem.encoder_vectors((IMAGE, name), 0)
        if vectors.on_disk:
            raise HeadError(
                "Expected all vectors in memory for --views, but --memory leaves them on the disk. Give it more, or "
                "leave --views out."
            )
        n_views = 1 + len(view_names(cache, name))
        shown_views = f"{n_views} views of {IMAGE}/{name}"
        check_memory(len(cache), n_views * vectors.dims[IMAGE], memory=memory, what=shown_views)
        views[IMAGE, name] = load_views(cache, name, vectors.present[IMAGE], memory=memory)
        notes.append(
            f"Training rows show one of {shown_views}, drawn anew in each epoch; validation and test rows show the "
            "plain picture, and so do all rows to heads that are fitted at once."
        )
    for note in notes:
        log.info(note)
    return replace(problem, views=views, notes=[*problem.notes, *notes])
