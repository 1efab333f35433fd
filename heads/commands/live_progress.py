"""How far an ablation is: a live table on a terminal, a plain line now and then elsewhere; on stderr."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING

from cache.console.progress import duration
from cache.shares import percent
from heads.ablation.dropped import Dropped
from heads.ablation.naming import Naming
from heads.experiment.configuration import Configuration, FoldJob
from heads.experiment.results import Outcome

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["Progress"]

LINE_EVERY_S = 10.0
N_SHOWN = 8


class Progress:
    """Jobs done, their rate, the time left, and the best configurations so far by their validation rows.

    The test rows are not shown before all is done: whoever stops when they look good has chosen by them.
    """

    def __init__(
        self,
        file: IO[str] | None = None,
        *,
        is_live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file or sys.stderr
        self._is_live = self._file.isatty() if is_live is None else is_live
        self._clock = clock
        self._live: Live | None = None
        self._n_expected = self._n_remembered = self._n_trained = self._n_failed = 0
        self._scores: dict[Configuration, list[float]] = defaultdict(list)
        self._started_s = self._line_printed_s = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def expect(self, n_jobs: int) -> None:
        """Hear that so many more jobs are wanted."""
        self._n_expected += n_jobs
        if self._is_live and not self._live:  # not before the first jobs: until then notes are written to stderr, too
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._file)
            self._live = Live(console=console, get_renderable=self.table, refresh_per_second=2, transient=True)
            self._live.start()

    def note(self, job: FoldJob, outcome: Outcome, *, remembered: bool) -> None:
        """Hear what came of a job."""
        if remembered:
            self._n_remembered += 1
            self._started_s = self._clock()  # the rate is that of training
        else:
            self._n_trained += 1
        if outcome.error is None:
            self._scores[job.configuration].append(outcome.validation["macro_f1"])
        else:
            self._n_failed += 1
        if not self._live and not remembered and self._clock() - self._line_printed_s >= LINE_EVERY_S:
            self._line_printed_s = self._clock()
            print(self.line(), file=self._file, flush=True)

    def drop(self, dropped: Mapping[Configuration, Dropped], line: str) -> None:
        """Print the line on who is dropped from a race, and show them no more: their scores are of fewer folds."""
        for configuration in dropped:
            self._scores.pop(configuration, None)
        if self._live:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._file, flush=True)

    def line(self) -> str:
        """Return where the ablation is, in a line."""
        parts = [f"{self._n_remembered + self._n_trained} of {self._n_expected} jobs"]
        if self._n_remembered:
            parts.append(f"{self._n_remembered} remembered")
        if self._n_failed:
            parts.append(f"{self._n_failed} failed")
        elapsed_s = self._clock() - self._started_s
        if self._n_trained and elapsed_s > 0:
            rate = self._n_trained / elapsed_s
            n_left = self._n_expected - self._n_remembered - self._n_trained
            parts += [f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min", f"{duration(n_left / rate)} left"]
        best = self._best()
        if best and not self._live:
            name, score, _ = best[0]
            parts.append(f"best so far {name} {percent(score)} (validation macro-F1)")
        return ", ".join(parts)

    def table(self) -> Table:
        """Return the line and the best configurations, for a terminal."""
        from rich.table import Table

        table = Table(title=self.line(), title_justify="left", box=None, pad_edge=False)
        table.add_column("best so far")
        table.add_column("validation macro-F1", justify="right")
        table.add_column("jobs", justify="right")
        for name, score, n_jobs in self._best()[:N_SHOWN]:
            table.add_row(name, percent(score), str(n_jobs))
        return table

    def _best(self) -> list[tuple[str, float, int]]:
        """Return name, mean macro-F1 and number of jobs of each configuration, the best first."""
        scores = {  # copied, since another thread draws the table
            configuration: list(its_scores) for configuration, its_scores in dict(self._scores).items() if its_scores
        }
        naming = Naming(scores)
        rows = [
            (naming.name(configuration), statistics.fmean(its_scores), len(its_scores))
            for configuration, its_scores in scores.items()
        ]
        return sorted(rows, key=lambda row: -row[1])
