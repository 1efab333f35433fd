"""The demo: a drawn catalogue, the two commands, and what they print."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from drawn import draw_catalogue  # noqa: E402 - the checkout comes first

from embed import ImageEncoder, TextEncoder, WeightsError  # noqa: E402

BANNER = """
********************************************************************************
  The pretrained encoders cannot be had here:
  {reason}
  The demo goes on with UNTRAINED encoders (random weights). It shows that
  everything works; its numbers say nothing about real encoders.
********************************************************************************
"""


def main(folder: Path) -> None:
    """Draw, extract, train; each command is shown as a person would type it."""
    catalogue = draw_catalogue(folder)
    print(f"Drew a catalogue of textiles: {catalogue}")
    weights = []
    try:
        ImageEncoder("resnet18")
        TextEncoder("bert-base-uncased")
    except WeightsError as error:
        print(BANNER.format(reason=str(error).split(". Put")[0].split(". Fill")[0]))
        weights = ["--image-weights", "random", "--text-weights", "random"]
    command("embed-extract", "--device", "cpu", *weights, folder=folder)
    command("heads-train", "--fusion", "all", "--weights", "0.4,0.6", folder=folder)
    print(f"\nThe catalogue, its cache and the run folder are in {folder}.")


def command(name: str, *arguments: str, folder: Path) -> None:
    """Show one command and run it in `folder`; end with its exit code if it fails."""
    print(f"\n$ {shlex.join([name, *arguments])}", flush=True)
    completed = subprocess.run([sys.executable, ROOT / "bin" / name, *arguments], cwd=folder, check=False)
    if completed.returncode:
        sys.exit(completed.returncode)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
