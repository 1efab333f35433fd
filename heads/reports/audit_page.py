"""The page of an audit: of each kind of finding the first ones, with their pictures and the evidence."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cache import Cache
from cache.errors import CacheError
from cache.pages.page import render_page
from heads.audit.audit_report import AuditReport
from heads.audit.finding import KINDS, Finding
from heads.audit.findings_file import FINDINGS
from heads.reports.picture_folder import find_picture_folder, no_pictures_note
from heads.reports.report_settings import ReportColumns, ReportSettings
from heads.reports.thumbnails import Thumbnails

__all__ = ["render_audit"]

TEMPLATE = Path(__file__).with_name("audit.html")
log = logging.getLogger("embed_once")

N_SHOWN = 40  # findings of a kind
N_OPEN = 10  # of them, that are not folded away
N_NEAREST = 3  # of a modality, with their pictures
MOST_CHARACTERS = 160  # of a title
ABOUT = {
    "label": (
        "Ranked by what heads say that did not learn from the row, and by its nearest in each modality; copies of the "
        "row have no vote."
    ),
    "copy": "Pairs of different labels whose vectors are nearly equal in a modality; the less probable label first.",
    "disagreement": "Two modalities' heads are sure of different classes: a wrong picture, a wrong title, or both.",
    "outlier": "Far from all others, as distances go in the class: another kind of product, or a bad picture or title.",
    "placeholder": "They make no copies, have no neighbours, and are best taken out of the catalogue.",
    "merge": "Products of each are confidently taken for the other, by heads that did not learn from them.",
    "split": "Half of the rows showed where the gap is, the other half how wide it is.",
}


@dataclass(frozen=True)
class Product:
    """A product as the page shows it."""

    id: str
    title: str
    picture: str | None
    label: str


class ProductGroup(NamedTuple):
    """Products to compare with a finding's, under a heading."""

    heading: str
    modality: str  # by which they are alike: where it is text, their titles are shown instead of their ids
    rows: Sequence[int]


@dataclass(frozen=True)
class Shown:
    """A finding as the page shows it: the product, and those to compare it with."""

    finding: Finding
    product: Product | None
    beside: Sequence[tuple[ProductGroup, Sequence[Product]]]


def render_audit(
    audited: AuditReport,
    facts: Mapping[str, Any],
    *,
    cache_path: Path,
    columns: ReportColumns,
    report: ReportSettings,
    labels: Sequence[str],
) -> str:
    """Return the page; `labels` are those of all products, "" where one has none."""
    sections = {kind: [finding for finding in audited.findings if finding.kind == kind][:N_SHOWN] for kind in KINDS}
    groups = {id(finding): _groups_beside(finding) for findings in sections.values() for finding in findings}
    rows = {finding.row for findings in sections.values() for finding in findings if finding.row is not None}
    rows |= {row for beside in groups.values() for group in beside for row in group.rows}
    products = _read_products(sorted(rows), audited, facts, cache_path, columns, report, labels)
    return render_page(
        TEMPLATE,
        audited=audited,
        kinds=KINDS,
        about=ABOUT,
        sections={
            kind: [
                Shown(
                    finding,
                    None if finding.row is None else products[finding.row],
                    [(group, [products[row] for row in group.rows]) for group in groups[id(finding)]],
                )
                for finding in findings
            ]
            for kind, findings in sections.items()
            if findings
        },
        n_open=N_OPEN,
        has_pictures=any(product.picture for product in products.values()),
        findings_name=FINDINGS,
        command=shlex.join(facts["command"]) if facts["command"] else None,
        facts=facts,
    )


def _groups_beside(finding: Finding) -> list[ProductGroup]:
    """Return the groups of products that a finding is shown beside."""
    beside = [
        ProductGroup(f"nearest {name}s", name, list(votes.nearest[:N_NEAREST])) for name, votes in finding.votes.items()
    ]
    other_rows, half = list(finding.others), len(finding.others) // 2
    if finding.kind in ("merge", "split"):
        names = (finding.given, finding.suggested) if finding.kind == "merge" else ("one kind", "the other")
        parts = zip(names, (other_rows[:half], other_rows[half:]), strict=True)
        return [ProductGroup(name, finding.modality, rows) for name, rows in parts]
    if other_rows:
        headings = {
            "copy": "beside",
            "outlier": f"its nearest {finding.modality}s",
            "placeholder": "others that have it",
        }
        beside.append(ProductGroup(headings[finding.kind], finding.modality, other_rows))
    return beside


def _read_products(
    rows: Sequence[int],
    audited: AuditReport,
    facts: Mapping[str, Any],
    cache_path: Path,
    columns: ReportColumns,
    report: ReportSettings,
    labels: Sequence[str],
) -> dict[int, Product]:
    """Return some products, {row: product}, without pictures and titles where the cache has other content by now."""
    images: list[str] | None = None
    titles: list[str] | None = None
    folder = root = report.image_root or cache_path.parent
    try:
        with Cache(cache_path) as cache:
            if cache.content_sha256 == facts["cache_content_sha256"]:
                images, titles = (
                    None if name is None else cache.column(name) for name in (columns.image, columns.title)
                )
                folder = find_picture_folder(cache, images or [], root)
    except (CacheError, OSError):  # it was taken away, or is being replaced
        pass
    thumbnails = Thumbnails(folder)
    products = {
        row: Product(
            id=audited.ids[row],
            title=_shortened(titles[row]) if titles else "",
            picture=thumbnails.url(images[row]) if images else None,
            label=labels[row],
        )
        for row in rows
    }
    if images and columns.image is not None and rows and not any(product.picture for product in products.values()):
        log.info("The page shows no pictures. %s", no_pictures_note(columns.image, [images[row] for row in rows]))
    return products


def _shortened(title: str) -> str:
    return title if len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…"
