"""What an audit found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cache.shares import percent
from heads.audit.finding import Finding

__all__ = ["AuditReport"]

LEAST_AGREEMENT = 0.5  # of heads with labels; below, they are wrong more often than right
LEAST_GAINED = 0.1  # of the way from the commonest label's share to all, for heads to know anything


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; `findings` are the first of each kind, and `counts` says how many there are."""

    run_path: Path
    label: str
    n_classes: int
    n_products: int  # in the catalogue
    n_audited: int  # of them, that heads answered without having learned from them
    left_out: dict[str, int]  # why -> how many of the others
    n_likely_wrong: int  # labels, as confident learning counts them
    agreement: float  # share of the audited whose label is what the heads answer
    majority_share: float  # of the audited, that the commonest label has
    encoders: dict[str, str]
    untrained: list[str]  # the encoders whose weights are random
    findings: list[Finding]
    counts: dict[str, int]
    ids: list[str]  # of all products
    notes: list[str]
    elapsed_s: float

    @property
    def are_classes_known(self) -> bool:
        """Whether heads tell the classes well enough for what they doubt to count labels."""
        gained = (self.agreement - self.majority_share) / max(1 - self.majority_share, 1e-9)
        return self.agreement >= LEAST_AGREEMENT and gained >= LEAST_GAINED

    @property
    def verdict(self) -> str:
        """How many labels look wrong, and to what heads; or why that cannot be told.

        Of heads that know the classes little, much of what they doubt is right: labels cannot tell noise from classes
        that overlap.
        """
        if self.are_classes_known:
            share = self.n_likely_wrong / max(self.n_audited, 1)
            return (
                f"About {self.n_likely_wrong:,} labels ({percent(share)} %) look wrong to heads that answer "
                f"{percent(self.agreement)} % of the products with their label. The more classes overlap, the more of "
                "them are right."
            )
        return (
            f"How many labels are wrong cannot be told: heads answer {percent(self.agreement)} % of the products with "
            f"their label, where the commonest label alone is right for {percent(self.majority_share)} %. What they "
            "doubt is listed all the same."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it, rows by their products' ids."""
        findings = [
            {
                **asdict(finding),
                "product": None if finding.row is None else self.ids[finding.row],
                "others": [self.ids[row] for row in finding.others],
                "votes": {
                    name: {**asdict(votes), "nearest": [self.ids[row] for row in votes.nearest]}
                    for name, votes in finding.votes.items()
                },
            }
            for finding in self.findings
        ]
        for finding in findings:
            del finding["row"]
        facts = {name: value for name, value in vars(self).items() if name != "ids"}
        return facts | {"run_path": str(self.run_path), "findings": findings}
