"""Put the figures of ``results/*.json`` into docs/performance.md: ``python tests/benchmarks/page.py [--check]``.

What stands on the page between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->`` is made here, and all else is
left as it is. ``--check`` writes nothing, and fails where the page is another than the JSON says.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from page_few_labels import few_labels, few_labels_against_stack, few_labels_cost
from page_tables import about, reach, spread, table

ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS = ROOT / "docs" / "performance.md", Path(__file__).resolve().parent / "results"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
STEPS = {  # of scale.py -> what the page calls them
    "encode": "a first run up to its seal",
    "unchanged": "an unchanged second run",
    "plan": "planning, all vectors waiting in the journal",
    "seal": "sealing",
    "resume": "going on from half, and sealing",
    "open": "opening",
    "groups": "rows that are copies, by keys and vectors of two modalities",
    "join": "joining ids, keys and labels",
    "lookup": "looking up a shuffled hundredth of the keys",
    "sample": "reading a shuffled hundredth of the vectors",
}


def main() -> None:
    """Write the page anew, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Fail where the page is not what the JSON says.")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    after = with_figures(before)
    if not options.check:
        PAGE.write_text(after, encoding="utf-8")
    elif before != after:
        sys.exit(f"{PAGE} is not what {RESULTS} says. Run python tests/benchmarks/page.py.")


def with_figures(page: str) -> str:
    """Return a page with the figures that the JSON has now."""
    return BLOCK.sub(lambda match: match[1] + "\n".join(TABLES[match[2]]()) + "\n" + match[3], page)


def read(name: str) -> dict[str, Any]:
    """Return what a benchmark kept."""
    results: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return results


def extraction() -> list[str]:
    """Return how fast extraction is against other ways: medians of rounds in turns."""
    results = read("extraction")
    sets = results["sets"]

    def side(name: str, letter: str, *, fast: bool = False) -> dict[str, Any]:
        return next(
            figures
            for label, figures in sets[name].items()
            if label.startswith(letter) and label.endswith("fast") == (fast and letter == "d")
        )

    def ratio(name: str, letter: str, *, fast: bool = False) -> float:
        ours, theirs = side(name, "d", fast=fast), side(name, letter)
        turns = zip(ours["seconds"], theirs["seconds"], strict=True)
        return statistics.median((ours["n_items"] / our_s) / (theirs["n_items"] / their_s) for our_s, their_s in turns)

    def of_products(letter: str) -> float:
        def seconds(which: str) -> list[float]:
            pictures, titles = side("small", which), side("texts", which)
            turns = zip(pictures["seconds"], titles["seconds"], strict=True)
            return [picture_s / pictures["n_items"] + title_s / titles["n_items"] for picture_s, title_s in turns]

        return statistics.median(their_s / our_s for our_s, their_s in zip(seconds("d"), seconds(letter), strict=True))

    rows = [["products of one picture and one title", "", f"{of_products('a'):.1f}", f"{of_products('c'):.2f}"]]
    for title, name, fast in (
        ("pictures", "small", False),
        ("titles", "texts", False),
        ("`large`", "large", False),
        ("`large`, `--decode fast`", "large", True),
    ):
        rate = side(name, "d", fast=fast)["items_per_s"]
        shown = f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}"
        rows.append([title, shown, f"{ratio(name, 'a', fast=fast):.1f}", f"{ratio(name, 'c', fast=fast):.2f}"])
    header = ["what", "items a second", "times the plain loop", "of the forward passes alone"]
    return table(header, rows, about(results, f"medians of {results['rounds']} rounds in turns"))


def start_up() -> list[str]:
    """Return what commands take that find nothing to do."""
    results = read("start_up")
    figures = results["figures"]
    names = {
        "embed-extract": "`embed-extract`, nothing changed",
        "embed-extract, no .specs": "the same without `<cache>.specs`",
        "heads-ablate": "`heads-ablate`, all remembered",
        "heads-ablate, no .finished": "the same without `memo.sqlite.finished`",
        "import torch": "`import torch`",
    }
    rows = []
    for name, title in names.items():
        cpu, wall, torch = figures[name]["cpu_s"], figures[name]["wall_s"], figures["import torch"]["cpu_s"]
        ratio = statistics.median(cpu_s / torch_s for cpu_s, torch_s in zip(cpu, torch, strict=True))
        rows.append([title, spread(cpu), spread(wall), f"{ratio:.2f}"])
    header = ["command", "s of CPU", "s by the clock", "CPU, times `import torch`"]
    load = f"a load of {results['machine']['load'][0]:g} at its end"
    return table(header, rows, about(results, f"medians (and ranges) of {len(cpu)} turns", load))


def catalogue() -> list[str]:
    """Return what the steps take on the real catalogue."""
    results = read("catalogue")
    header = ["step", *results["first_extract"]]
    columns = list(results["first_extract"].values())
    second, training, absent = results["second_extract"], results["heads_train"], "not measured"
    rows = [
        ["first `embed-extract`"]
        + [
            f"{'–'.join(f'{s:g}' for s in column['seconds'])} s "
            f"({'pictures ' if column is columns[0] else ''}{column['pictures_per_s']}/s, "
            f"{'titles ' if column is columns[0] else ''}{column['titles_per_s']:,}/s)"
            for column in columns
        ],
        [
            "second `embed-extract`, nothing changed",
            f"{reach(second['wall_s'])} s, no picture opened, no PyTorch imported; "
            f"{reach(second['wall_s_without_specs'])} s where `<cache>.specs` is not there",
            absent,
        ],
        ["peak memory of the first", *(f"{column['peak_gb']} GB" for column in columns)],
        ["size of the cache", *(f"{column['cache_mb']} MB" for column in columns)],
        [
            f"`heads-train --fusion all --label articleType` ({training['fusions']} fusions)",
            f"{training['seconds']} s, {'–'.join(map(str, training['report_s']))} s of them the report",
            absent,
        ],
    ]
    return table(header, rows, about(results, f"the second run on {second['date']} at {second['busy']}"))


def training() -> list[str]:
    """Return what training takes."""
    results = read("training")
    fits, shell, growth, disk, grid = (results[name] for name in ("fits", "shell", "growth", "from_disk", "grid"))
    precision = results["precision"]
    peak = [reach([fit[f"{name}_share_of_peak"] for fit in fits], 2) for name in ("bf16", "fp32")]
    rows = [
        [
            "15 fits, 10,000 rows, against scikit-learn's `MLPClassifier` of the same width, batch and epochs",
            f"{reach([fit['times_sklearn'] for fit in fits])} times as fast, at a higher accuracy",
        ],
        ["share of the matrix-product peak there", f"{peak[0]} in bf16, {peak[1]} in fp32"],
        [
            f"`heads-train --fusion all`, {shell['rows']:,} rows",
            f"{shell['heads_train_s']} s, {shell['times_import_torch']} times `import torch`",
        ],
        [
            f"{growth['rows']:,} rows, two epochs of `early`",
            f"{growth['memory_s']} s from memory; {growth['disk_s']} s from the disk with "
            f"`--memory {growth['disk_memory']}`",
        ],
        [
            f"{disk['rows']:,} rows ({disk['vectors_gb']} GB of vectors) from the disk",
            f"{disk['seconds']} s, {disk['peak_gb']} GB at the peak of the whole process",
        ],
        [f"{grid['configurations']} configurations × five folds, {grid['rows']:,} rows", f"{grid['seconds']} s"],
        [
            f"bf16 against fp32, {precision['configurations']} configurations ranked",
            f"Kendall's tau {precision['tau']}; other seeds {precision['tau_of_seeds']}",
        ],
    ]
    return table(["what", "measured"], rows, about(results, "one run of each part"))


def heads_in_turn() -> list[str]:
    """Return what training takes beside the code before."""
    results = read("heads_in_turn")
    rows = [
        [f"{problem['rows']:,}, {problem['classes']}", problem["heads"], str(problem["rounds"])]
        + [f"{problem[name]:.2f}" for name in ("before_s", "now_s", "least_before_s", "least_now_s")]
        for problem in results["rounds"]
    ]
    header = [
        "drawn rows × (512 + 768), classes",
        "heads",
        "rounds",
        "s of CPU before",
        "now",
        "least before",
        "least now",
    ]
    return table(header, rows, about(results, "medians", results["busy"]))


def scale() -> list[str]:
    """Return what grows with the catalogue."""
    return _tenfold(read("scale"), STEPS)


def scale_heads() -> list[str]:
    """Return what grows of a training."""
    results = read("scale_heads")
    return _tenfold(results, {figures["step"]: f"`{figures['step']}`" for figures in results["steps"]})


def _tenfold(results: dict[str, Any], names: dict[str, str]) -> list[str]:
    rows = [
        [
            names[figures["step"]],
            *(f"{s:.{1 if s < 10 else 0}f} s" for s in (figures["cpu_s_a_million"], figures["cpu_s"])),
            f"{figures['cpu_s'] / figures['cpu_s_a_million']:.1f}",
            f"{figures['peak_mb'] / 1000:.1f} GB",
        ]
        for figures in results["steps"]
    ]
    header = ["step", "a million", "ten million", "ratio", "peak memory at ten million"]
    return table(header, rows, about(results, results["busy"]))


def tables() -> list[str]:
    """Return what tables of ten million rows take."""
    results = read("tables")
    reading, whole = results["reading"], results["inspection"]
    rows = [
        [
            f"reading alone: `{results['command'].split()[-1]}`, a CSV of four short columns ({reading['file_mb']} MB)",
            "10 million",
            f"{reading['seconds']} s",
            f"{reading['peak_mb']} MB; of a thousand rows {reading['peak_mb_of_a_thousand_rows']} MB, which is what "
            "Python and pandas need",
        ],
        [
            "a whole inspection: `embed-inspect`, which counts values, copies and pairs with the label besides, four "
            "short columns",
            "10 million",
            f"{whole['seconds']} s of one core",
            f"{whole['peak_mb']} MB",
        ],
    ]
    return table(["what was run", "rows", "time", "peak memory"], rows, about(results, "busy besides"))


TABLES: dict[str, Callable[[], list[str]]] = {
    "catalogue": catalogue,
    "extraction": extraction,
    "few_labels": lambda: few_labels(read("few_labels")),
    "few_labels_against_stack": lambda: few_labels_against_stack(read("few_labels")),
    "few_labels_cost": lambda: few_labels_cost(read("few_labels")),
    "heads_in_turn": heads_in_turn,
    "scale": scale,
    "scale_heads": scale_heads,
    "start_up": start_up,
    "tables": tables,
    "training": training,
}

if __name__ == "__main__":
    main()
