"""Compare the training of heads in two checkouts: `python tests/benchmarks/heads_in_turn.py CACHE --before DIR`.

Each head of a default `heads-train` is trained alone, on one thread, in a process for each checkout that waits while
the other one computes. Seconds are those of the thread's CPU, which other work on the machine touches least; the heads
are compared bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
HEADS = "image,text,early,lowrank,gated,attention"


@click.command()
@click.argument("cache_path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--before", "before_path", type=click.Path(path_type=Path, exists=True), required=True, help="A checkout."
)
@click.option("--heads", default=HEADS, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--max-epochs", default=60, show_default=True)
def command(cache_path: Path, before_path: Path, heads: str, rounds: int, max_epochs: int) -> None:
    """Compare the training of heads in this checkout with that in another one."""
    lines = [[sys.executable, __file__, "--child", tree, cache_path, max_epochs] for tree in (before_path, ROOT)]
    sides = [
        subprocess.Popen(list(map(str, line)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in lines
    ]
    totals = []
    for head in heads.split(","):
        turns = [[_ask(side, head) for side in sides] for _ in range(rounds)]
        seconds = [[turn[n]["seconds"] for turn in turns] for n in (0, 1)]
        same = "the same" if turns[0][0]["sha256"] == turns[0][1]["sha256"] else "another"
        medians, least = list(map(statistics.median, seconds)), list(map(min, seconds))
        totals.append([*medians, *least])
        click.echo(f"{head:10} median {medians[0]:.2f} {medians[1]:.2f} s, least {least[0]:.2f} {least[1]:.2f}: {same}")
    before, now, least_before, least_now = map(sum, zip(*totals, strict=True))
    click.echo(f"all        median {before:.2f} {now:.2f} s, least {least_before:.2f} {least_now:.2f}")
    for side in sides:
        side.communicate()  # it ends with its input


def _ask(side: subprocess.Popen, head: str) -> dict:
    print(head, file=side.stdin, flush=True)
    return json.loads(side.stdout.readline())


def child(tree: str, cache_path: str, max_epochs: str) -> None:
    """Train the heads that are named on stdin with the code of a checkout."""
    sys.path[:0] = [tree]
    import torch

    from cache import Cache
    from heads.experiment.configuration import Configuration
    from heads.experiment.experiment import Experiment
    from heads.experiment.problem import pose
    from heads.settings import TrainSettings
    from heads.training.gradient_loop import descend
    from heads.training.job import Job
    from heads.training.row_source import open_source

    torch.set_num_threads(1)
    settings = TrainSettings(max_epochs=int(max_epochs))
    with Cache(cache_path) as cache:
        problem = pose(cache, settings)
    experiment = Experiment.of(problem, settings, sides=())
    sources = {}  # by the modalities that a head sees
    for line in sys.stdin:
        name, encoders = line.strip(), problem.combinations[0]
        if name in encoders:  # a modality's own head sees no other
            encoders = {name: encoders[name]}
        (job,) = Configuration.of(name, encoders, settings).jobs(n_folds=1, seeds=[settings.seed])
        task = experiment.inputs.task(job.configuration.encoders, 0, job.settings.scaling)
        if (encoder_set := job.configuration.encoders) not in sources:
            sources[encoder_set] = open_source(task, torch.empty(0, dtype=experiment.dtype))
        started = time.thread_time()
        ((_, fit),) = descend([Job(experiment.describe(job), task, job.settings)], [sources[encoder_set]])
        seconds = time.thread_time() - started
        state = b"".join(tensor.numpy().tobytes() for _, tensor in sorted(fit.module.state_dict().items()))
        print(json.dumps({"seconds": seconds, "sha256": hashlib.sha256(state).hexdigest()}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        command()
