"""Late fusion and ensembles while their members are trained: who waits for whom, and the results still needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from heads.errors import HeadError
from heads.experiment.configuration import FoldJob
from heads.experiment.results import Trained

__all__ = ["Pending"]


class Pending:
    """Jobs that average others and wait for these; a member's result is kept no longer than one of them waits."""

    def __init__(self, jobs: Sequence[FoldJob]) -> None:
        self._missing = {job: set(job.members) for job in jobs}
        self._users: dict[FoldJob, list[FoldJob]] = defaultdict(list)
        for job in jobs:
            for member in job.members:
                self._users[member].append(job)
        self._n_waiting = {member: len(users) for member, users in self._users.items()}
        self._kept: dict[FoldJob, Trained | HeadError] = {}

    @property
    def members(self) -> list[FoldJob]:
        """All jobs that are waited for."""
        return list(self._users)

    @property
    def n_kept(self) -> int:
        """How many results are at hand."""
        return len(self._kept)

    def complete(
        self, member: FoldJob, result: Trained | HeadError
    ) -> Iterator[tuple[FoldJob, dict[str, Trained | HeadError]]]:
        """Yield each job that lacked only this member, with its members' results, or errors, by head.

        Who was interrupted may ask again: the job at which that happened comes once more.
        """
        if not self._n_waiting.get(member):
            return
        self._kept[member] = result
        for job in self._users[member]:
            if job not in self._missing:
                continue
            self._missing[job].discard(member)
            if self._missing[job]:
                continue
            yield job, {one.configuration.head: self._kept[one] for one in job.members}
            del self._missing[job]
            for one in job.members:
                self._n_waiting[one] -= 1
                if not self._n_waiting[one]:
                    del self._kept[one]
