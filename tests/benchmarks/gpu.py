"""Go over all that touches a GPU, once: `python tests/benchmarks/gpu.py [--device cuda|cpu] [--output FILE]`.

Correct and fast: the tests of CUDA; pictures and titles a second against the plain loop, decoding alone and the forward
passes alone; heads on the CPU against the GPU; a grid of heads; the commands; and what other libraries take. It needs
what setup.cfg names and this working tree, installed or not, and no network. With ``--device cpu`` it is a dry run on
small sizes.

Each part is a process under a limit. Its figures are appended to FILE.lines as they come, so that what was measured
stays whatever happens; at the end FILE holds all of them as one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import click

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
LEAST_S = 10  # a part does not begin with less time than this
END = 600  # characters of what is kept of what a part says
FIGURE = '{"figure": '  # so begins a line of a part that is one

PARTS_S = {"machine": 60, "pictures": 120, "texts": 90, "heads": 90, "grid": 60, "others": 90}  # of `gpu_parts.py`
TESTS_S, COMMAND_S = 120, 90
COMMANDS = {
    "embed-extract": ["--image-weights", "random", "--text-weights", "random"],
    "heads-train": ["--fusion", "all", "--weights", "0.4,0.6"],
}


@click.command()
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:N, or cpu for a dry run.")
@click.option("--scale", default=1.0, show_default=True, help="Times the sizes of all that is measured.")
@click.option("--only", help="Parts, such as machine,heads; default: all.")
@click.option("--seconds", "limit_s", default=900, show_default=True, help="In which all parts must have ended.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("gpu.json"), show_default=True)
def command(device: str, scale: float, only: str | None, limit_s: int, output: Path) -> None:
    """Test and measure on a GPU, or try on the CPU whether that would run."""
    ends_at = time.monotonic() + limit_s
    with tempfile.TemporaryDirectory() as folder, Path(f"{output}.lines").open("w", encoding="utf-8") as lines:
        parts = _parts(device, scale, Path(folder))
        chosen = only.split(",") if only else list(parts)
        if unknown := set(chosen) - parts.keys():
            raise click.UsageError(f"--only must name some of {', '.join(parts)}, however got {', '.join(unknown)}.")
        figures = Figures(lines)
        for name in chosen:
            line, most_s = parts[name]
            figures.measure(name, line, min(most_s, ends_at - time.monotonic()), folder=Path(folder))
    whole = json.dumps(figures.by_part, separators=(",", ":"))
    output.write_text(whole + "\n", encoding="utf-8")
    click.echo(whole)


def _parts(device: str, scale: float, folder: Path) -> dict[str, tuple[list[str], int]]:
    """Return each part's command line and its limit in seconds, in the order to run them."""
    measured = {
        name: ([sys.executable, str(Path(__file__).with_name("gpu_parts.py")), name, device, str(scale)], most_s)
        for name, most_s in PARTS_S.items()
    }
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--maxfail=20"]
    pytest += ["-c", str(ROOT / "setup.cfg"), "--rootdir", str(ROOT)]
    n_products = 400 if device != "cpu" else 160
    draw = (
        f"from pathlib import Path; import drawn; drawn.draw_catalogue(Path({str(folder)!r}), n_products={n_products})"
    )
    commands = {
        name: ([sys.executable, str(ROOT / "bin" / name), "--device", device, *more], COMMAND_S)
        for name, more in COMMANDS.items()
    }
    return {
        "machine": measured.pop("machine"),
        "tests": ([*pytest, *map(str, sorted(TESTS.glob("test_*_cuda.py")))], TESTS_S),  # which a dry run skips
        "catalogue": ([sys.executable, "-c", draw], COMMAND_S),
        **commands,
        **measured,
    }


class Figures:
    """What was found, {part: {name: figure}}, told and written as it comes."""

    def __init__(self, lines: IO[str]) -> None:
        self.by_part: dict[str, dict[str, object]] = {}
        self._lines = lines

    def measure(self, part: str, line: list[str], most_s: float, *, folder: Path) -> None:
        """Run a part, and note its figures, how it ended, and what it said last where that was not well."""
        if most_s < LEAST_S:
            self._note(part, "left out", "there was no time left")
            return
        started = time.monotonic()
        process = subprocess.Popen(
            line, cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        limit = threading.Timer(most_s, _end, [process])
        limit.start()
        output = ""
        try:
            for text in process.stdout or []:
                if text.startswith(FIGURE):
                    figure = json.loads(text)
                    self._note(part, figure["figure"], figure["found"])
                else:
                    output = (output + text)[-END:]
            code = process.wait()
        finally:
            limit.cancel()
            _end(process)
        self._note(part, "exit", code)
        self._note(part, "s", round(time.monotonic() - started, 1))
        if code or part not in PARTS_S:
            self._note(part, "said last", output.strip())

    def _note(self, part: str, name: str, figure: object) -> None:
        self.by_part.setdefault(part, {})[name] = figure
        self._lines.write(json.dumps({"part": part, "figure": name, "found": figure}) + "\n")
        self._lines.flush()
        click.echo(f"{part}: {name}: {figure}", err=True)


def _end(process: subprocess.Popen) -> None:
    """End a part and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Return the environment of a part: the working tree's modules, and no network."""
    paths = (str(path) for path in (ROOT, TESTS, TESTS / "benchmarks"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    command()
