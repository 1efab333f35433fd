"""``findings.csv``: a line a finding, which a person edits and gives back as ``--corrections``.

``label`` is empty in every line of a finding: whoever agrees writes a label there. What was corrected before stands at
the end, so that the last file holds all; nothing else is changed by a file that was not edited.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from cache.system.stray_bytes import open_csv
from heads.audit.finding import Finding

__all__ = ["FINDINGS", "write_findings"]

FINDINGS = "findings.csv"
CORRECTED = "corrected"  # in the place of the finding's kind


def write_findings(
    folder: Path,
    findings: Sequence[Finding],
    ids: Sequence[str],
    modalities: Sequence[str],
    *,
    corrected: Mapping[str, str],
) -> None:
    """Write the file into a folder; lists of ids have blanks between them. `corrected` are {product: label}.

    Cells are written as they are, also such as a spreadsheet takes for formulas: they are there to be joined on.
    """
    columns = [f"{name}_{part}" for name in modalities for part in ("votes_given", "votes_suggested", "nearest")]
    with open_csv(folder / FINDINGS) as file:
        writer = csv.writer(file)
        writer.writerow([
            "finding", "product", "label", "given", "suggested", "score", "given_probability", "suggested_probability",
            *columns, "others", "words",
        ])  # fmt: skip
        for finding in findings:
            votes = [finding.votes.get(name) for name in modalities]
            cells = [
                [vote.n_given, vote.n_suggested, _ids(vote.nearest, ids)] if vote else ["", "", ""] for vote in votes
            ]
            writer.writerow([
                finding.kind,
                "" if finding.row is None else ids[finding.row],
                "",
                finding.given,
                finding.suggested,
                f"{finding.score:.6g}",
                _share(finding.given_probability),
                _share(finding.suggested_probability),
                *(cell for modality_cells in cells for cell in modality_cells),
                _ids(finding.others, ids),
                finding.words,
            ])  # fmt: skip
        writer.writerows([CORRECTED, *line, *[""] * (7 + len(columns))] for line in corrected.items())


def _ids(rows: Sequence[int], ids: Sequence[str]) -> str:
    return " ".join(ids[row] for row in rows)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
