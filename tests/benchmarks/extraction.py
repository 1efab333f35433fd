"""Compare extraction with what a user would otherwise do, all sides in turns: `python tests/benchmarks/extraction.py`.

(a) is the plain recipe of a tutorial, (b) the usual libraries' own fast ways, (c) the forward passes alone on tensors
already in memory in this project's precision, (d) this project from files to a sealed cache, (e) decoding alone. Each
side is a process of its own that is set up once; in each round every side encodes its contents once, one side after
the other, so that a noisy machine is as noisy for all. Figures are medians over the rounds, ratios medians of each
round's ratio.
"""

from __future__ import annotations

import datetime
import json
import multiprocessing
import platform
import shlex
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import inputs  # noqa: E402 - it stands beside this file, whose folder is on the path by now

LARGE = 1500  # pixels a side
PRODUCT = {"small", "texts"}  # the sets of which a product has one content each
NEEDS = {"timm": "timm", "sentence-transformers": "sentence_transformers"}


def main() -> None:
    """Run the benchmark."""
    command()


@click.command()
@click.option("--catalogue", type=click.Path(path_type=Path, exists=True), help="A CSV; default: drawn contents.")
@click.option("--image-column", default="image", show_default=True)
@click.option("--text-column", default="productDisplayName", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--slow", "n_slow", default=160, show_default=True, help="Contents a round of sides a and b.")
@click.option("--fast", "n_fast", default=1280, show_default=True, help="Contents a round of sides c and d.")
@click.option("--large", "n_large", default=128, show_default=True, help="Large JPEGs a round, of every side.")
@click.option("--device", default="cpu", show_default=True, help="Of all sides.")
@click.option("--only", help="Sets to measure: small, large, texts; default: all.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(**options: Any) -> None:
    """Measure extraction against the plain recipe, the usual libraries, and the forward passes alone."""
    with tempfile.TemporaryDirectory() as folder:
        sets = _sets(Path(folder), options)
        chosen = options["only"].split(",") if options["only"] else list(sets)
        if unknown := set(chosen) - sets.keys():
            raise click.UsageError(f"--only must name some of {', '.join(sets)}, however got {', '.join(unknown)}.")
        results = {name: _measure(sets[name], options["rounds"]) for name in chosen}
        cosine = _least_cosine(sets["large"][0]["arguments"][0]) if "large" in chosen else None
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": _machine(options["device"]),
        # Of files outside the checkout the names alone: where they lie is nobody's business who reads the figures.
        "command": shlex.join(Path(word).name if Path(word).is_absolute() else word for word in sys.argv),
        "rounds": options["rounds"],
        "least_cosine_of_fast_decoding": cosine,
        "sets": results,
    }
    for name, sides in results.items():
        _print(name, sides)
    if cosine is not None:
        click.echo(f"least cosine of --decode fast to exact, both in fp32: {cosine:.5f}")
    if results.keys() >= PRODUCT:
        _print_products(results)
    if options["json_path"]:
        options["json_path"].write_text(json.dumps(record, indent=1) + "\n")


def _sets(folder: Path, options: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return for each set of contents the sides to run: label, function, and what it encodes."""
    n_slow, n_fast = options["n_slow"], options["n_fast"]
    if options["catalogue"]:
        pictures, titles = inputs.read_catalogue_contents(
            options["catalogue"], image_column=options["image_column"], text_column=options["text_column"]
        )
    else:
        pictures = inputs.draw_pictures(folder / "small", n_pictures=n_fast, size=(60, 80))
        titles = inputs.draw_titles(n_fast)
    large = inputs.draw_pictures(folder / "large", n_pictures=options["n_large"], size=(LARGE, LARGE))
    bert = inputs.write_bert(folder / "bert", titles)

    device = options["device"]

    def sides(kind: str, contents: list[Any], **options_of_side: Any) -> list[dict[str, Any]]:
        from sides import SIDES

        return [
            {
                "label": label.removeprefix(kind + " "),
                "side": label,
                "arguments": [contents[: n_slow if label.split()[1] in "ab" else n_fast]],
                "more": {"device": device, **options_of_side},
            }
            for label in SIDES
            if label.startswith(kind) and _is_installed(label)
        ]

    all_large = sides("pictures", large)
    for side in sides("pictures", large, decode="fast"):
        if side["label"][0] in "de":
            all_large.append({**side, "label": side["label"] + " --decode fast"})
    return {"small": sides("pictures", pictures), "large": all_large, "texts": sides("texts", titles, folder=bert)}


def _is_installed(label: str) -> bool:
    for library, module in NEEDS.items():
        if library in label and find_spec(module) is None:
            click.echo(f"{label}: left out, {library} is not installed (pip install -e '.[benchmark]').", err=True)
            return False
    return True


def _measure(sides: list[dict[str, Any]], n_rounds: int) -> dict[str, dict[str, Any]]:
    """Return each side's seconds a round, items a second, and peak memory."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[dict[str, Any], Any, Connection]] = []
    try:
        return _take_turns(sides, context, workers, n_rounds)
    finally:
        for _, process, pipe in workers:
            pipe.close()  # which ends those that are still waiting
            process.join()


def _take_turns(
    sides: list[dict[str, Any]], context: Any, workers: list[tuple[dict[str, Any], Any, Connection]], n_rounds: int
) -> dict[str, dict[str, Any]]:
    for side in sides:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, side["side"], side["arguments"], side["more"]))
        process.start()
        theirs.close()  # so that a side that dies is an end of file here, and no silence
        workers.append((side, process, ours))
        _receive(ours, side["side"])  # it is set up and warm: no two are set up at once
    figures: dict[str, dict[str, Any]] = {
        side["label"]: {"n_items": len(side["arguments"][0]), "seconds": []} for side in sides
    }
    for number in range(n_rounds):
        for side, _, pipe in workers:
            pipe.send("run")
            figures[side["label"]]["seconds"].append(_receive(pipe, side["side"]))
            click.echo(f"round {number + 1}: {side['side']}, {figures[side['label']]['seconds'][-1]:.2f} s", err=True)
    for side, _, pipe in workers:
        pipe.send("stop")
        figures[side["label"]]["peak_memory_bytes"] = _receive(pipe, side["side"])
    for figure in figures.values():
        figure["items_per_s"] = statistics.median(figure["n_items"] / seconds for seconds in figure["seconds"])
    return figures


def _least_cosine(paths: list[Path]) -> float:
    """Return the least cosine between the vectors of fast and of exact decoding."""
    import numpy as np

    from embed import ImageEncoder

    exact, fast = (
        encoder.encode([encoder.prepare(path.read_bytes()) for path in paths])
        for encoder in (ImageEncoder(weights="random", decode=way) for way in ("exact", "fast"))
    )
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
    return float(((exact * fast).sum(axis=1) / lengths).min())


def _receive(pipe: Connection, side: str) -> Any:
    try:
        return pipe.recv()
    except EOFError as error:
        raise click.ClickException(f"The side {side} failed; its traceback is above.") from error


def _serve(pipe: Connection, side: str, arguments: list[Any], more: dict[str, Any]) -> None:
    """Set one side up and run it as often as the parent says; in a process of its own."""
    import logging

    from sides import SIDES

    logging.disable()
    run = SIDES[side](*arguments, **more)
    run()
    pipe.send("ready")
    while _order(pipe) == "run":
        started = time.perf_counter()
        run()
        pipe.send(time.perf_counter() - started)
    with suppress(BrokenPipeError):  # the parent has gone
        pipe.send(_peak_memory())


def _order(pipe: Connection) -> str:
    try:
        return str(pipe.recv())
    except EOFError:
        return "stop"


def _peak_memory() -> int:
    """Return the most bytes that this process has held; a DataLoader's workers come on top.

    `getrusage` would count what its parent held, too.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return how many times as fast our side is as theirs: the median of the rounds."""
    pairs = zip(ours["seconds"], theirs["seconds"], strict=True)
    return statistics.median((ours["n_items"] / our_s) / (theirs["n_items"] / their_s) for our_s, their_s in pairs)


def _print(name: str, sides: dict[str, dict[str, Any]]) -> None:
    ours = [label for label in sides if label.startswith("d")]
    click.echo(f"\n{name:38}{'items':>6}{'items/s':>9}{'peak MB':>9}" + "".join(f"{'d/':>9}" for _ in ours))
    for label, side in sides.items():
        ratios = "".join(f"{_ratio(sides[ours_label], side):9.2f}" for ours_label in ours)
        click.echo(
            f"{label:38}{side['n_items']:6}{side['items_per_s']:9.1f}{side['peak_memory_bytes'] / 1e6:9.0f}{ratios}"
        )


def _print_products(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Print the ratios for products of one picture and one title each."""

    def seconds(letter: str) -> list[float]:
        chosen = [
            next(side for label, side in results[name].items() if label.startswith(letter)) for name in sorted(PRODUCT)
        ]
        return [sum(side["seconds"][n] / side["n_items"] for side in chosen) for n in range(len(chosen[0]["seconds"]))]

    click.echo("\nproducts of one picture and one title, each unique")
    for letter in "ac":
        ratio = statistics.median(their_s / our_s for our_s, their_s in zip(seconds("d"), seconds(letter), strict=True))
        click.echo(f"d/{letter}{ratio:9.2f}")


def _machine(device: str) -> dict[str, Any]:
    import torch

    from cache.system.cores import count_cores

    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "cores": count_cores(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "bf16": any(is_able for name, is_able in torch.cpu.get_capabilities().items() if name.endswith("bf16")),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "transformers")},
        **{name: version(name) for name, module in NEEDS.items() if find_spec(module)},
    }


if __name__ == "__main__":
    main()
