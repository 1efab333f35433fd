"""`bin/torture`: all campaigns in turn, until the minutes are over or something is lost."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of what is started
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore", module="PIL")  # which complains of each damaged picture
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cache.errors import CacheLockedError  # noqa: E402
from cache.system.lock import WriterLock  # noqa: E402
from torture.campaign import KINDS, UNNAMED, Campaign, LossError, Tools, Trial  # noqa: E402
from torture.registry import CAMPAIGNS  # noqa: E402

STATE = "state.json"


class Session:
    """The state of a torture: its seed, and of each campaign the next trial's number and what was counted."""

    def __init__(self, folder: Path, seed: int | None) -> None:
        self.path = folder / STATE
        self.seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        self.n_trials: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in CAMPAIGNS}
        if self.path.exists():
            state = json.loads(self.path.read_text())
            self.seed = state["seed"] if seed is None else seed
            self.n_trials = Counter(state["n_trials"])
            self.counts |= {name: Counter(counts) for name, counts in state["counts"].items()}
        self._save()  # whoever goes on has the seed, even if the first trial is lost or killed

    def note(self, name: str, trial: Trial) -> None:
        """Count a trial that held."""
        self.n_trials[name] += 1
        self.counts[name] += trial.counts
        self._save()

    def _save(self) -> None:
        """Keep the state, whole whatever ends this process."""
        state = {"seed": self.seed, "n_trials": self.n_trials, "counts": self.counts}
        self.path.with_suffix(".tmp").write_text(json.dumps(state, indent=1))
        os.replace(self.path.with_suffix(".tmp"), self.path)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0), default=10.0, show_default=True, help="For how long.")
@click.option("--seed", type=int, help="All that is drawn follows from it; default: one that is drawn and printed.")
@click.option("--only", type=click.Choice(list(CAMPAIGNS)), multiple=True, help="This campaign; may be repeated.")
@click.option(
    "--resume",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Go on with what was begun in this folder; a trial that failed there comes first.",
)
def torture(minutes: float, seed: int | None, only: tuple[str, ...], folder: Path | None) -> None:
    """Kill, starve and damage the project's commands in turn, and end at the first thing that is lost."""
    folder = Path(tempfile.mkdtemp(prefix="torture-")) if folder is None else folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(folder / "lock")
    try:
        lock.acquire()
    except CacheLockedError as error:
        raise click.ClickException(f"Expected {folder} to be of one torture, but another is at work there.") from error
    session = Session(folder, seed)
    click.echo(f"Seed {session.seed}, in {folder}.")
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(dir=folder, prefix="prepared-") as prepared:
        tools = Tools(Path(prepared), session.seed)
        try:
            loss = run(session, [CAMPAIGNS[name] for name in only or CAMPAIGNS], tools, folder=folder, end=end)
        finally:
            tools.close()
            lock.release()
    print_figures(session)
    if loss:
        click.echo(loss)
        sys.exit(1)
    click.echo("Nothing was lost.")


def run(session: Session, campaigns: list[Campaign], tools: Tools, *, folder: Path, end: float) -> str:
    """Run trials of the campaigns in turn, as long for each; return what was lost, and how to see it again."""
    ready: dict[str, Callable[[Trial], None]] = {}
    spent_s: Counter[str] = Counter()
    for _ in itertools.count():
        campaign = min(campaigns, key=lambda candidate: spent_s[candidate.name])
        start = time.monotonic()
        if start > end and len(ready) == len(campaigns):
            return ""
        number = session.n_trials[campaign.name]
        trial = campaign.trial(number, seed=session.seed, folder=folder / campaign.name)
        try:
            if campaign.name not in ready:
                ready[campaign.name] = campaign.prepare(tools)
                start = time.monotonic()  # preparing is for several, and counts for none
            ready[campaign.name](trial)
        except Exception as error:  # noqa: BLE001 - whatever a reader raises, or Hypothesis: it was not expected
            loss = error if isinstance(error, LossError) else LossError(UNNAMED, traceback.format_exc())
            session.counts[campaign.name][loss.kind] += 1
            return (
                f"Lost in {campaign.name}, trial {number}: {loss}\nWhat is left of it is in {trial.folder}. Again: "
                f"bin/torture --minutes 0 --seed {session.seed} --only {campaign.name} --resume {folder}"
            )
        session.note(campaign.name, trial)
        spent_s[campaign.name] += max(time.monotonic() - start, 1e-3)  # type: ignore[assignment]
    return ""


def print_figures(session: Session) -> None:
    """Print what each campaign did."""
    for name, counts in session.counts.items():
        if session.n_trials[name] or counts:
            losses = {kind: counts.get(kind, 0) for kind in KINDS}
            work = {name: count for name, count in counts.items() if name not in losses}
            figures = [f"{count:,} {counted}" for counted, count in [*work.items(), *losses.items()]]
            click.echo(f"{name}: {session.n_trials[name]:,} trials: {', '.join(figures)}")


if __name__ == "__main__":
    torture()
