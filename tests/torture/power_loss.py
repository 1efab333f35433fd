"""Power that goes: what was not synced is gone, torn or there, and names change in any order between two fsyncs."""

from __future__ import annotations

from collections.abc import Callable

from torture.campaign import WRONG, Campaign, Tools, Trial, require
from torture.disk import Disk
from torture.recordings import Recording, recordings

N_STATES = 300  # of the disk, in one of which a missing fsync must show


def prepare(tools: Tools) -> Callable[[Trial], None]:
    recorded = recordings(tools)

    def cut(trial: Trial) -> None:
        for n in range(3 if trial.is_small else 20):
            recording = recorded[(trial.number + n) % len(recorded)]
            lose_power(recording, trial, goes_on=n == 0)
            trial.counts["states of the disk"] += 1

    return cut


def lose_power(recording: Recording, trial: Trial, *, goes_on: bool = False) -> None:
    """Make one state of the disk, check what was promised by then, and go on from there if asked to.

    Raises:
        LossError: a promise is broken.
    """
    disk = Disk(recording.start)
    promised = [n for n, line in enumerate(recording.log, 1) if "acknowledged" in line or n == len(recording.log)]
    length = trial.random.choice([trial.random.choice(promised), trial.random.randrange(len(recording.log) + 1)])
    for line in recording.log[:length]:
        disk.change(line)
    folder = trial.folder / f"{trial.counts['states of the disk']}"
    disk.write_state(folder, trial.random)
    where = f"{recording.name}: the power went after {length} of {len(recording.log)} changes"
    recording.check(folder, recording.log[:length], length == len(recording.log), where)
    if goes_on:
        recording.go_on(folder, where)
        trial.counts["runs that went on"] += 1


CAMPAIGN = Campaign("power-loss", "power that goes at any instant of an extraction or a training", prepare)


def prepare_without(tools: Tools) -> Callable[[Trial], None]:
    sync_sites = sorted(set().union(*(recording.sync_sites for recording in recordings(tools))))

    def leave_out(trial: Trial) -> None:
        sync_site = tools.pick(sync_sites, trial.number)
        recording = next(made for made in recordings(tools) if sync_site in made.sync_sites).record(without=sync_site)
        for _ in range(N_STATES):
            try:
                lose_power(recording, trial)
            except AssertionError:
                trial.counts["fsyncs whose want was noticed"] += 1
                return
            trial.counts["states of the disk"] += 1
        require(False, WRONG, f"nothing is lost without the fsync of {sync_site}: it is needless, or this too weak")

    return leave_out


WITHOUT = Campaign("missing-fsyncs", "each fsync left out in turn: power-loss must notice", prepare_without, n_unit=6)
