"""Extraction, the only loop: plan, read, prepare, encode, publish, seal."""

from __future__ import annotations

import csv
import logging
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cache import Cache, Inventory, Journal, Products, seal
from embed.catalogue import Catalogue, read_catalogue
from embed.contents import find_source
from embed.device import count_cores
from embed.encoder_run import EncoderReport, EncoderRun
from embed.encoders import Encoder, make_encoders, replicas
from embed.errors import TooManyBadError
from embed.hints import Hints
from embed.settings import ExtractSettings
from embed.statuses import MEANINGS, NOT_BAD

__all__ = ["ExtractReport", "extract"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class ExtractReport:
    """What an extraction did, and each modality's count of products by status."""

    cache_path: Path
    n_products: int
    encoders: list[EncoderReport]
    statuses: dict[str, dict[str, int]]
    failures_path: Path | None  # the list of contents that could not be read, where there are any
    was_written: bool  # whether the cache changed
    elapsed_s: float


def extract(
    catalogue_path: str | Path = "data.csv",
    cache_path: str | Path = "embeddings.h5",
    *,
    settings: ExtractSettings | None = None,
    encoders: Sequence[Encoder] | None = None,
) -> ExtractReport:
    """Encode what of the catalogue is not in the cache yet, seal the cache, and return what was done.

    A run that is killed has lost no more than the part it was encoding; the same call goes on from there.
    `encoders` replaces those that the settings name; each encodes the modality of its spec, and those of one name and
    spec share the work.

    Raises:
        CatalogueError: the catalogue cannot be read.
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        CacheError: the cache is locked, damaged or of another kind, or the disk is full; what is done is kept.
        TooManyBadError: the cache is written, and more contents than `settings.max_bad` could not be read.
    """
    settings = settings or ExtractSettings()
    cache_path = Path(cache_path)
    if cache_path.is_symlink():
        cache_path = cache_path.resolve()  # the rename must replace the file, not the link
    started = time.monotonic()
    catalogue = read_catalogue(catalogue_path, settings)
    n_workers = settings.n_workers or count_cores()
    with Journal(cache_path) as journal, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of malformed EXIF and large pictures: statuses say so
        teams = replicas(make_encoders(settings) if encoders is None else encoders)
        inventory = Inventory(cache_path, journal)
        for team in teams:
            inventory.entry(team[0].spec.modality, team[0].name, team[0].spec)  # a conflict is found before any work
        # What was encoded in another run belongs to these products too.
        modalities = {team[0].spec.modality for team in teams} | (inventory.keys.keys() & catalogue.roles.keys())
        hints_path = cache_path.with_name(cache_path.name + ".hints")
        with Hints(hints_path, folder=journal.folder, is_ignored=settings.rehash) as hints:
            sources = {
                modality: find_source(modality, catalogue, settings, n_workers=n_workers, hints=hints)
                for modality in sorted(modalities)
            }
        reports = []
        changed: set[str] = set()
        for team in teams:
            run = EncoderRun(team, sources[team[0].spec.modality], journal, settings)
            reports.append(run.encode_missing(inventory))
            changed |= run.changed
        products = Products(
            ids=catalogue.ids,
            columns=catalogue.columns,
            contents={modality: source.contents(changed) for modality, source in sources.items()},
        )
        n_gone = _count_products_gone(cache_path, catalogue)
        was_written = seal(cache_path, journal, products)
        if n_gone:
            log.info(
                "%d products of the cache are not in %s: they left it, and their vectors stay.", n_gone, catalogue.path
            )
        failures_path, statuses = _list_failures(cache_path, catalogue, list(sources))
    report = ExtractReport(
        cache_path=cache_path,
        n_products=len(catalogue.ids),
        encoders=reports,
        statuses=statuses,
        failures_path=failures_path,
        was_written=was_written,
        elapsed_s=time.monotonic() - started,
    )
    _check_bad(report, settings)
    return report


def _count_products_gone(cache_path: Path, catalogue: Catalogue) -> int:
    if not cache_path.exists():
        return 0
    with Cache(cache_path) as cache:
        return len(set(cache.ids()).difference(catalogue.ids))


def _list_failures(
    cache_path: Path, catalogue: Catalogue, modalities: list[str]
) -> tuple[Path | None, dict[str, dict[str, int]]]:
    """Write ``<cache>.failures.csv``, one line a product and modality; remove an old one where all is well."""
    path = cache_path.with_name(cache_path.name + ".failures.csv")
    lines = []
    counts = {}
    with Cache(cache_path) as cache:
        for modality in modalities:
            statuses = cache.statuses(modality)
            counts[modality] = dict(Counter(statuses))
            cells = catalogue.cells(modality)
            lines += [
                (product_id, modality, status, MEANINGS.get(status, ""), cell[:200])
                for product_id, status, cell in zip(catalogue.ids, statuses, cells, strict=True)
                if status not in NOT_BAD
            ]
    if not lines:
        path.unlink(missing_ok=True)
        return None, counts
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "modality", "status", "meaning", "cell"])
        writer.writerows(lines)
    return path, counts


def _check_bad(report: ExtractReport, settings: ExtractSettings) -> None:
    for modality, counts in report.statuses.items():
        n_bad = sum(count for status, count in counts.items() if status not in NOT_BAD)
        if n_bad > settings.bad_limit(report.n_products):
            raise TooManyBadError(
                f"--max-bad {settings.max_bad} must hold, however {n_bad} of {report.n_products} products have a bad "
                f"{modality}; {report.failures_path} lists them. All others are in {report.cache_path}."
            )
