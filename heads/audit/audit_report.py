"""What an audit found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heads.audit.finding import Finding

__all__ = ["AuditReport"]


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
    encoders: dict[str, str]
    untrained: list[str]  # the encoders whose weights are random
    findings: list[Finding]
    counts: dict[str, int]
    ids: list[str]  # of all products
    notes: list[str]
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it, rows by their products' ids."""
        found = [
            {
                **asdict(one),
                "product": None if one.row is None else self.ids[one.row],
                "others": [self.ids[row] for row in one.others],
                "votes": {
                    name: {**asdict(votes), "nearest": [self.ids[row] for row in votes.nearest]}
                    for name, votes in one.votes.items()
                },
            }
            for one in self.findings
        ]
        for one in found:
            del one["row"]
        own = {name: value for name, value in vars(self).items() if name != "ids"}
        return own | {"run_path": str(self.run_path), "findings": found}
