"""What an audit says of the number of wrong labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from heads.audit.audit_report import AuditReport


@pytest.mark.parametrize(
    ("agreement", "majority_share", "is_known"),
    [
        (0.95, 0.2, True),
        (0.14, 0.001, False),  # of many classes of three rows
        (0.51, 0.5, False),  # labels drawn at random
        (0.95, 0.95, False),  # heads that always say the commonest
        (0.97, 0.95, True),
    ],
)
def test_heads_that_do_not_know_the_classes_count_no_wrong_labels(agreement, majority_share, is_known):
    report = AuditReport(
        run_path=Path("runs/x"), label="label", n_classes=2, n_products=200, n_audited=200, left_out={},
        n_likely_wrong=86, agreement=agreement, majority_share=majority_share, encoders={}, untrained=[], findings=[],
        counts={}, ids=[], notes=[], elapsed_s=1.0,
    )  # fmt: skip
    assert report.are_classes_known is is_known
    assert report.verdict.startswith("About 86 labels (43.0 %)" if is_known else "How many labels are wrong cannot be")
    assert f"answer {100 * agreement:.1f} % of the products with their label" in report.verdict
