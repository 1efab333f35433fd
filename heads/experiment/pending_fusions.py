"""Late fusion and ensembles whose members are still in training: which job waits for which, and the results at hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from heads.errors import HeadError
from heads.experiment.configuration import FoldJob
from heads.experiment.results import Trained

__all__ = ["Pending"]


class Pending:
    """Jobs that average other jobs' results; a member's result is kept as long as a job still waits for it."""

    def __init__(self, jobs: Sequence[FoldJob]) -> None:
        self._unfinished_members = {job: set(job.members) for job in jobs}
        self._users: dict[FoldJob, list[FoldJob]] = defaultdict(list)
        for job in jobs:
            for member in job.members:
                self._users[member].append(job)
        self._n_waiting = {member: len(users) for member, users in self._users.items()}
        self._results: dict[FoldJob, Trained | HeadError] = {}

    @property
    def members(self) -> list[FoldJob]:
        """All jobs that are waited for."""
        return list(self._users)

    @property
    def n_kept(self) -> int:
        """How many results are at hand."""
        return len(self._results)

    def complete(
        self, member: FoldJob, result: Trained | HeadError
    ) -> Iterator[tuple[FoldJob, dict[str, Trained | HeadError]]]:
        """Yield each job that lacked only this member, with its members' results, or errors, by head.

        It may be called again with the same member after an interruption; then the job at which that happened is
        yielded once more.
        """
        if not self._n_waiting.get(member):
            return
        self._results[member] = result
        for job in self._users[member]:
            if job not in self._unfinished_members:
                continue
            self._unfinished_members[job].discard(member)
            if self._unfinished_members[job]:
                continue
            yield job, {needed.configuration.head: self._results[needed] for needed in job.members}
            del self._unfinished_members[job]
            for needed in job.members:
                self._n_waiting[needed] -= 1
                if not self._n_waiting[needed]:
                    del self._results[needed]
