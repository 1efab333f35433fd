"""The list of contents that could not be read, beside a cache."""

from __future__ import annotations

import csv
from pathlib import Path

from cache import Cache
from cache.system.stray_bytes import open_csv
from embed.catalogue.catalogue import Catalogue
from embed.contents.statuses import MEANINGS, NOT_BAD
from embed.extraction.source.picture_means import BrokenPicture

__all__ = ["list_failures"]


def list_failures(
    cache_path: Path, catalogue: Catalogue, modalities: list[str], *, broken: list[BrokenPicture]
) -> tuple[Path | None, dict[str, dict[str, int]]]:
    """Write ``<cache>.failures.csv``, one line a product and modality, and a picture that is broken beside sound ones.

    An old one is removed where all is well. Return the list's path, None where all is well, and each modality's count
    of products by status.
    """
    path = cache_path.with_name(cache_path.name + ".failures.csv")
    lines = []
    counts = {}
    with Cache(cache_path) as cache:
        for modality in modalities:
            counts[modality] = cache.status_counts(modality)
            if counts[modality].keys() <= NOT_BAD:
                continue
            statuses, cells = cache.status_column(modality), catalogue.cells(modality)
            lines += [
                (product_id, modality, status, MEANINGS.get(status, ""), cell[:200])
                for product_id, status, cell in zip(catalogue.ids, statuses, cells, strict=True)
                if status not in NOT_BAD
            ]
    lines += [
        (catalogue.ids[picture.row], "image", picture.status, MEANINGS.get(picture.status, ""), picture.cell[:200])
        for picture in broken
    ]
    if not lines:
        path.unlink(missing_ok=True)
        return None, counts
    with open_csv(path) as file:
        writer = csv.writer(file)
        writer.writerow(["id", "modality", "status", "meaning", "cell"])
        writer.writerows(lines)
    return path, counts
