"""`embed-extract` as it is typed: what it prints where, its exit codes, and what it says when something is wrong."""

from __future__ import annotations

import errno
import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import fork_server
import h5py
import numpy as np
import pytest
import torch
from support import ROOT, CountingEncoder, image_bytes, invoke, small_catalogue, synthetic_cache, write_catalogue

import cache.console.progress
import embed.commands.extract
import embed.extraction.encoding.encoder_run
import embed.extraction.encoding.run_encoders
from cache import Cache, Journal, verify
from cache.journal.part_file import load_part

pytestmark = pytest.mark.slow

# embed-extract with encoders that need no model; the first argument limits the size of a file.
COUNTED = f"""
import resource, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from support import CountingEncoder
import cache.console.progress
import embed.commands.extract
from embed.extraction.encoding import run_encoders
cache.console.progress.LINE_EVERY_S = float("inf")
run_encoders.make_encoders = lambda settings: [CountingEncoder("image"), CountingEncoder("text")]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
embed.commands.extract.extract.main(sys.argv[2:], prog_name="embed-extract")
"""


def counted_line(*arguments, file_limit=-1):
    return [sys.executable, "-c", COUNTED, str(file_limit), *map(str, arguments)]


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch):
    """A machine that is slow enough would say how far it is, now and then."""
    monkeypatch.setattr(cache.console.progress, "LINE_EVERY_S", np.inf)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with a catalogue, and the commands run in it."""
    catalogue = small_catalogue(tmp_path / "shop")
    monkeypatch.chdir(catalogue.parent)
    return catalogue.parent


@pytest.fixture
def counting(monkeypatch):
    """The encoders of all runs of the command, two a run; none needs a model."""
    made = []

    def make(settings):
        made.extend(CountingEncoder(modality, dim=4096) for modality in sorted(set(settings.modalities)))
        return made[-2:]

    monkeypatch.setattr(embed.extraction.encoding.run_encoders, "make_encoders", make)
    return made


@pytest.fixture
def small_parts(monkeypatch):
    """Publishes a part after every second content."""
    settings = functools.partial(embed.commands.extract.ExtractSettings, batch_size=2, part_bytes=1)
    monkeypatch.setattr(
        embed.commands.extract, "ExtractSettings", lambda **options: settings(**{**options, "batch_size": 2})
    )


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts an empty file system of a size; it can be called again to change the size or mode."""
    folder = tmp_path / "disk"
    folder.mkdir()
    is_mounted = False

    def mount(options):
        nonlocal is_mounted
        line = ["mount", "-o", f"remount,{options}", folder]
        if not is_mounted:
            line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
            if os.geteuid() or subprocess.run(line, capture_output=True, check=False).returncode:
                pytest.skip("mounting a small disk needs root and the right to mount")
            is_mounted = True
        else:
            subprocess.run(line, check=True)
        return folder

    yield mount
    if is_mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - wherever it is


def assert_one_line(result, *words, code=1):
    """Check that the command failed with one line on stderr that has all the words, and nothing on stdout."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    # A full disk is noted for the hints too, which are no reason to fail.
    lines = [line for line in result.stderr.splitlines() if ".hints could not be written (No space left" not in line]
    assert [line[:7] for line in lines] == ["Error: "]
    for word in words:
        assert str(word) in lines[0]


# --- what is printed where


def test_bare_command_encodes_the_catalogue_of_this_folder(shop, counting):
    result = invoke(embed.commands.extract.extract)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.sub(r"\d+\.\d", "#", result.stdout).splitlines() == [
        "embeddings.h5: 6 products, sealed, # s in all.",
        "Taken for id: id (100 % full), image: image (100 % full), text: text (100 %",
        "full), label: label (100 % full).",
        "",
        "encoder         unique  cached  encoded  failed  seconds",
        "--------------  ------  ------  -------  ------  -------",
        "image/counting       6       0        6       0      #",
        "text/counting        6       0        6       0      #",
        "",
        "image: 6 ok (column image)",
        "text: 6 ok (column text)",
        "Next: heads-train",
    ]
    again = invoke(embed.commands.extract.extract)
    assert "embeddings.h5: 6 products, unchanged" in again.stdout
    assert [encoder.n_encoded for encoder in counting] == [6, 6, 0, 0]


def test_statuses_and_the_list_of_failures_are_shown(shop, counting):
    (shop / "images" / "1.png").unlink()
    (shop / "images" / "2.png").write_text("<html>")
    result = invoke(embed.commands.extract.extract)
    assert result.exit_code == 0
    assert "image: 4 ok, 1 missing, 1 not_an_image (column image)\n" in result.stdout
    listed = re.search(r"What could not be read is listed in (\S+)\.$", result.stdout, re.MULTILINE).group(1)
    assert len((shop / listed).read_text().splitlines()) == 3


def test_the_next_command_can_be_typed_as_it_stands(shop, counting):
    result = invoke(embed.commands.extract.extract, "data.csv", "-o", "my shop.h5")
    assert result.stdout.splitlines()[-1] == "Next: heads-train 'my shop.h5'"


def test_the_next_command_asks_for_the_label_where_no_column_has_a_usual_name(shop, counting):
    table = (shop / "data.csv").read_text()
    (shop / "data.csv").write_text(table.replace("label", "colour", 1))
    assert invoke(embed.commands.extract.extract).stdout.splitlines()[-1] == "Next: heads-train --label COLUMN"


def test_json_is_one_object_and_all_there_is_on_stdout(shop, counting):
    (shop / "images" / "2.png").write_text("<html>")
    result = invoke(embed.commands.extract.extract, "data.csv", "-o", "out.h5", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (report["cache_path"], report["n_products"], report["was_written"]) == ("out.h5", 6, True)
    assert report["statuses"] == {"image": {"ok": 5, "not_an_image": 1}, "text": {"ok": 6}}
    assert (shop / report["failures_path"]).is_file()
    for entry in report["encoders"]:
        assert entry.pop("elapsed_s") >= 0
    assert report["encoders"] == [
        {"name": "image/counting", "n_unique": 6, "n_cached": 0, "n_encoded": 5, "n_failed": 1},
        {"name": "text/counting", "n_unique": 6, "n_cached": 0, "n_encoded": 6, "n_failed": 0},
    ]


def test_what_was_taken_is_printed_with_how_full_it_is_and_never_rounded_to_all(shop, counting):
    rows = [{"id": str(n), "image": "images/0.png", "Name": "" if n == 7 else "cup", "title": ""} for n in range(4000)]
    write_catalogue(shop, rows)
    result = invoke(embed.commands.extract.extract)
    line = "Taken for id: id (100 % full), image: image (100 % full), text: Name (99.98 % full)."
    assert line in " ".join(result.stdout.split())


def test_progress_goes_to_stderr(shop, counting, monkeypatch):
    monkeypatch.setattr(cache.console.progress, "LINE_EVERY_S", 0.0)
    result = invoke(embed.commands.extract.extract, "--json", "--batch-size", 2)
    json.loads(result.stdout)
    lines = result.stderr.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Hashing pictures: 6 of 6 files",
        *(f"Encoding {name}/counting: {n} of 6 {name}s" for name in ("image", "text") for n in (2, 4, 6)),
    ]
    assert all(re.search(r", \d+ a second, \d+ s left$", line) for line in lines)


def test_terminal_shows_a_bar(shop):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    os.set_blocking(ours, False)
    done = fork_server.run(counted_line("--json"), stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # a terminal gives 4 kB at a time, and an error at its end
        while piece := os.read(ours, 10**6):
            shown += piece
    os.close(ours)
    shown = shown.decode()
    assert json.loads(done.stdout)["n_products"] == 6
    assert "Hashing pictures:" in shown
    assert "Encoding text/counting:" in shown


def test_notes_reach_the_stderr_of_every_run(shop, counting):
    write_catalogue(shop, [{"image": "images/0.png", "text": "a text"}])
    for _ in range(2):
        result = invoke(embed.commands.extract.extract)
        assert result.stderr == (
            "No column of ids was found (id, product_id, item_id, sku, asin, uid, uniq_id, handle, item_sku, "
            "seller_sku): rows are numbered from 0.\n"
        )


def test_real_command_with_real_encoders_is_quiet_and_runs_in_any_folder(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 3)
    strange = image_bytes("red", size=(64, 64), kind="JPEG")
    (tmp_path / "shop" / "images" / "1.png").write_bytes(
        strange[:2] + b"\xff\xe1\x00\x10Exif\0\0MM\0*????" + strange[2:]
    )
    config = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    (tmp_path / "small-bert").mkdir()
    (tmp_path / "small-bert" / "config.json").write_text(json.dumps({**config, "intermediate_size": 16}))
    line = [ROOT / "bin" / "embed-extract", catalogue, "-o", "deep/folder/out.h5", "--device", "cpu"]
    line += ["--image-weights", "random", "--text-weights", "random", "--text-encoder", tmp_path / "small-bert"]
    done = subprocess.run([sys.executable, *line], capture_output=True, text=True, check=False)
    assert (done.returncode, re.sub(r"^(Encoding|Hashing) .*\n", "", done.stderr, flags=re.MULTILINE)) == (0, "")
    assert "image/resnet18-random" in done.stdout
    with Cache("deep/folder/out.h5") as cache:
        assert np.isfinite(cache.matrix("image")).all()
        assert cache.matrix("image").shape == (3, 512)
        assert cache.matrix("text").shape == (3, 8)


def test_reader_that_goes_away_is_no_reason_to_complain(shop):
    reader, writer = os.pipe()
    os.close(reader)
    done = fork_server.run(counted_line(), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert verify("embeddings.h5") == []


# --- exit codes


@pytest.mark.parametrize("error", [ZeroDivisionError("of ours"), EOFError("of ours"), RecursionError("of ours")])
def test_unexpected_error_shows_its_traceback_and_exits_with_3(shop, counting, monkeypatch, error):
    def fail(settings):
        raise error

    monkeypatch.setattr(embed.extraction.encoding.run_encoders, "make_encoders", fail)
    result = invoke(embed.commands.extract.extract)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Traceback" in result.stderr
    assert f"{type(error).__name__}: of ours" in result.stderr
    assert result.stderr.endswith("This is a mistake in embed-once, not in your data. Please report it.\n")


def test_ctrl_c_exits_with_130_and_the_same_line_goes_on(shop, counting, small_parts, monkeypatch):
    def encode(self, batch, encode=CountingEncoder.encode):
        if sum(encoder.n_encoded for encoder in counting) == 4:
            raise KeyboardInterrupt
        return encode(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(CountingEncoder, "encode", encode)
        result = invoke(embed.commands.extract.extract)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == (
        "Stopped. What was encoded is kept in the journal: type the same line again to go on."
    )
    assert invoke(embed.commands.extract.extract).exit_code == 0
    assert [encoder.n_encoded for encoder in counting] == [4, 0, 2, 6]


@pytest.mark.parametrize(
    "arguments",
    [["--frobnicate"], ["--batch-size", "many"], ["data.csv", "another.csv"], ["-o"]],
)
def test_wrong_usage_exits_with_2(shop, counting, arguments):
    result = invoke(embed.commands.extract.extract, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert sorted(os.listdir()) == ["data.csv", "images"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], ["nowhere.csv is not there", "after the command"]),
        (["images/0.png"], ["Expected a catalogue, got a picture, images/0.png"]),
        (["--batch-size", 0], ["--batch-size: expected at least 1, got 0"]),
        (["--batch-size", -3], ["--batch-size: expected at least 1, got -3"]),
        (["--workers", 0], ["--workers: expected at least 1, got 0"]),
        (["--max-length", 2], ["--max-length: expected at least 3, got 2"]),
        (["--max-bad", "some"], ["--max-bad: expected a share such as 1% or a number, got 'some'"]),
        (["--max-bad", "-1"], ["--max-bad", "'-1'"]),
        (["--max-bad", ""], ["--max-bad", "''"]),
        (["--modalities", ""], ["--modalities: expected some of image, text, got none"]),
        (["--modalities", "image,audio"], ["--modalities: expected some of image, text", "audio"]),
        (["--seed", 2**64], ["--seed"]),
        (["--encoding", "klingon"], ["--encoding: expected one that Python knows", "'klingon'"]),
        (["--id-column", "sku"], ["--id-column", "(id, image, text, label)", "'sku'"]),
        (["--image-column", "photo"], ["--image-column", "(id, image, text, label)", "'photo'"]),
        (["--text-column", "name"], ["--text-column", "(id, image, text, label)", "'name'"]),
        (
            ["--where", "size == 'XL'"],
            ["--where: expected a condition", "size is none of the columns (id, image, text, label)"],
        ),
        (["--where", "label"], ["--where: expected a condition", "label is no comparison"]),
        (["--per-class", 3], ["--per-class needs the column of the classes", "--label COLUMN"]),
        (["--per-class", 3, "--label", "size"], ["--label", "(id, image, text, label)", "'size'"]),
        (["--sample", 0], ["--sample: expected at least 1, got 0"]),
        (["--delimiter", "::"], ["--delimiter: expected one character, or tab, got '::'"]),
        (["--text-columns", "text,name"], ["--text-columns", "(id, image, text, label)", "'name'"]),
        (["--text-columns", "text,label", "--text-column", "text"], ["--text-column", "--text-columns"]),
        (["--id-column", "label"], ["each id to name one product", "'class 0' 3 times", "--id-column"]),
        (["--image-root", "nowhere"], ["none of the 6 is", "--image-root"]),
        (["-o", "images"], ["images is a folder"]),
        (["-o", "data.csv"], ["data.csv to be an HDF5 file"]),
        (["-o", "."], ["-o"]),
        (["-o", ""], ["-o"]),
        (["-o", "/"], ["-o"]),
        (["-o", "data.csv/out.h5"], ["data.csv"]),
    ],
)
def test_wrong_option_is_one_line_and_leaves_nothing_behind(shop, counting, arguments, words):
    before = (shop / "data.csv").read_bytes()
    assert_one_line(invoke(embed.commands.extract.extract, *arguments), *words)
    assert sum(encoder.n_encoded for encoder in counting) == 0
    assert sorted(os.listdir()) == ["data.csv", "images"]
    assert (shop / "data.csv").read_bytes() == before


def test_some_products_are_taken_and_bad_lines_told(shop, counting):
    with (shop / "data.csv").open("a") as file:
        file.write("7\n")
    line = ["--where", "id < 5", "--label", "label", "--per-class", 2, "--sample", 3, "--text-columns", "text,label"]
    result = invoke(embed.commands.extract.extract, *line, "--clean-text", "--json")
    assert json.loads(result.stdout)["n_products"] == 3
    assert result.stderr.splitlines() == [
        "1 bad line of data.csv left out: line 8 has 1 cell and the header 4.",
        "3 of the 6 products of data.csv are taken (--where, --per-class, --sample).",
    ]
    assert [encoder.n_encoded for encoder in counting] == [3, 3]
    assert_one_line(
        invoke(embed.commands.extract.extract, "--bad-lines", "error"), "line 8 has 1 cell", "--bad-lines skip"
    )


def test_modality_named_twice_is_encoded_once(shop, counting):
    result = invoke(embed.commands.extract.extract, "--modalities", "image,image", "--json")
    assert [entry["name"] for entry in json.loads(result.stdout)["encoders"]] == ["image/counting"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "tpu"], ["--device: expected auto, cpu, cuda, cuda:N, mps or", "'tpu'"]),
        (["--device", "cuda:01"], ["--device"]),
        (["--device", "cuda:99"], ["--device", "--device auto or cpu"]),
        (["--device", "cuda:128"], ["--device"]),
        (["--device", "cuda:99999999999"], ["--device"]),
        (["--image-encoder", "resnet9000"], ["--image-encoder", "resnet18", "'resnet9000'"]),
        (["--image-name", "a/b"], ["'a/b'", "--image-name"]),
        (["--image-name", "key"], ["'key'", "--image-name"]),
        (["--image-name", "n" * 300], ["--image-name"]),
        (["--image-weights", "nowhere.pth"], ["nowhere.pth"]),
        (["--text-weights", "nowhere"], ["--text-weights: expected pretrained or random", "--text-encoder FOLDER"]),
        (["--text-encoder", "nowhere"], ["nowhere", "folder with config.json"]),
        (["--max-length", 513], ["--max-length: expected at most 512", "513"]),
    ],
)
def test_encoder_that_cannot_be_had_is_one_line_and_leaves_nothing_behind(shop, arguments, words):
    result = invoke(embed.commands.extract.extract, "--image-weights", "random", "--text-weights", "random", *arguments)
    assert_one_line(result, *words)
    assert sorted(os.listdir()) == ["data.csv", "images"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_one_line_with_the_way_out(shop):
    result = invoke(
        embed.commands.extract.extract, "--image-weights", "random", "--text-weights", "random", "--device", "cuda"
    )
    assert_one_line(result, "finds 0 of the kind cuda here", "--device auto or cpu")


def test_pretrained_weights_that_cannot_be_had_name_the_folder_and_the_way_out(shop):
    result = invoke(embed.commands.extract.extract)
    assert_one_line(result, os.environ["TORCH_HOME"], "--image-weights random")
    assert sorted(os.listdir()) == ["data.csv", "images"]


def test_too_many_bad_pictures_exit_with_1_and_the_cache_is_written(shop, counting):
    (shop / "images" / "2.png").write_text("<html>")
    assert_one_line(
        invoke(embed.commands.extract.extract, "--max-bad", "10%", "--json"), "--max-bad 10%", "1 of 6 products"
    )
    assert verify("embeddings.h5") == []
    assert invoke(embed.commands.extract.extract, "--max-bad", "20%").exit_code == 0


# --- another writer


def test_second_writer_is_told_who_writes_and_can_go_on_when_the_first_is_dead(shop, counting):
    hold = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cache import Journal\n"
    hold += "with Journal('embeddings.h5'): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert_one_line(
            invoke(embed.commands.extract.extract), f"process {holder.pid} on ", "embeddings.h5.journal/lock", "-o"
        )
        assert invoke(embed.commands.extract.extract, "-o", "another.h5").exit_code == 0
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert invoke(embed.commands.extract.extract).exit_code == 0
    caches = ["another.h5", "another.h5.hints", "embeddings.h5", "embeddings.h5.hints"]
    assert sorted(os.listdir()) == sorted([*caches, "data.csv", "images"])


def test_commands_typed_at_once_write_one_whole_cache(shop):
    """Each comes to its end or is told that another writes."""
    running = [
        fork_server.Popen(counted_line(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in running]
    assert ("", 0) in ends
    assert all(end == ("", 0) or (end[1] == 1 and "One writer at a time" in end[0]) for end in ends)
    assert verify("embeddings.h5") == []
    assert sorted(os.listdir()) == ["data.csv", "embeddings.h5", "embeddings.h5.hints", "images"]


# --- disks that are full or closed


def test_disk_that_is_full_at_any_fsync_loses_nothing_committed(shop, counting, small_parts, monkeypatch):
    """The disk is full from the first fsync on, from the fourth, and so on, until there is none left to fail."""
    n_calls = n_acknowledged = 0
    full_from = -2

    def publish(self, part, publish=Journal.publish):
        nonlocal n_acknowledged
        path = publish(self, part)
        n_acknowledged += len(part.keys)
        return path

    def fsync(descriptor, fsync=os.fsync):
        nonlocal n_calls
        n_calls += 1
        if n_calls >= full_from:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    while True:
        full_from += 3  # of a part's two and the cache's two each has its turn
        counting.clear()
        n_calls = n_acknowledged = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(Journal, "publish", publish)
            result = invoke(embed.commands.extract.extract)
        if result.exit_code == 0:
            break
        assert_one_line(result, "No space left on device", "type the same line again")
        n_kept = 2 * len(list((shop / "embeddings.h5.journal").glob("*.part.h5")))
        again = invoke(embed.commands.extract.extract)
        assert (again.exit_code, again.stderr) == (0, "")
        assert counting[2].n_encoded + counting[3].n_encoded == 12 - n_kept
        assert n_kept >= n_acknowledged
        (shop / "embeddings.h5").unlink()
    assert full_from > 2 * 6 + 2  # two a part, two for the cache
    assert n_acknowledged == 12


@pytest.mark.parametrize("size", ["4k", "200k", "1000k"])
def test_full_disk_loses_nothing_and_the_same_line_goes_on_when_there_is_space(
    tmp_path, counting, small_parts, small_disk, size, monkeypatch
):
    """Others fill the disk while the run goes on.

    A vector has 16 KiB here: with 200 KiB some parts find room, with 1000 all 40 vectors, but not the cache too.
    """
    catalogue = small_catalogue(tmp_path / "shop", 20)
    disk = small_disk(f"size={size}")
    monkeypatch.setattr(embed.extraction.encoding.encoder_run, "check_space", lambda *_, **__: None)
    result = invoke(embed.commands.extract.extract, catalogue, "-o", disk / "out.h5")
    assert_one_line(result, disk / "out.h5.journal", "type the same line again")
    paths = list(disk.glob("out.h5.journal/*"))
    assert all(path.name.endswith(".part.h5") for path in paths)
    kept = {key for path in paths for key in load_part(path).keys}  # parts are merged as they grow in number
    assert {"4k": 0, "200k": 2, "1000k": 40}[size] <= len(kept) <= {"4k": 0, "200k": 20, "1000k": 40}[size]
    small_disk("size=8m")
    assert invoke(embed.commands.extract.extract, catalogue, "-o", disk / "out.h5").exit_code == 0
    assert counting[2].n_encoded + counting[3].n_encoded == 40 - len(kept)
    assert verify(disk / "out.h5") == []
    assert sorted(os.listdir(disk)) == ["out.h5", "out.h5.hints"]


def test_disk_too_small_for_all_is_found_before_it_is_full(tmp_path, counting, small_disk):
    disk = small_disk("size=1000k")
    result = invoke(embed.commands.extract.extract, small_catalogue(tmp_path / "shop", 200), "-o", disk / "out.h5")
    assert_one_line(result, "Extraction needs", "MB are free", "Free some")
    assert len(list(disk.glob("*.journal/*.part.h5"))) == 1  # the first batch, which is kept


def test_full_disk_leaves_the_sealed_cache_readable(tmp_path, counting, small_parts, small_disk):
    disk = small_disk("size=1200k")
    assert (
        invoke(embed.commands.extract.extract, small_catalogue(tmp_path / "shop", 12), "-o", disk / "out.h5").exit_code
        == 0
    )
    before = (disk / "out.h5").read_bytes()
    result = invoke(embed.commands.extract.extract, small_catalogue(tmp_path / "shop", 24), "-o", disk / "out.h5")
    assert_one_line(result, "type the same line again")
    assert (disk / "out.h5").read_bytes() == before


def test_seal_that_meets_a_limit_of_the_system_ends_in_one_line_and_loses_nothing(shop):
    """A quota or a limit on a file's size is met while the file is written, whatever space the disk says is free."""
    synthetic_cache(Path("embeddings.h5"), {"image": np.ones((500, 1024))}, {"label": ["x"] * 500})
    before = Path("embeddings.h5").read_bytes()
    line = counted_line(file_limit=len(before) // 2)
    done = fork_server.run(line, capture_output=True, text=True, check=False)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert "type the same line again" in done.stderr
    assert (done.returncode, done.stdout) == (1, "")
    assert Path("embeddings.h5").read_bytes() == before
    again = fork_server.run(counted_line("--json"), capture_output=True, text=True, check=True)
    assert [entry["n_encoded"] for entry in json.loads(again.stdout)["encoders"]] == [0, 0]
    assert sorted(os.listdir()) == ["data.csv", "embeddings.h5", "embeddings.h5.hints", "images"]


@pytest.mark.parametrize("is_new", [True, False], ids=["new cache", "old cache"])
def test_folder_that_cannot_be_written_is_one_line(shop, counting, small_disk, tmp_path, is_new):
    folder = small_disk("size=4m") if os.geteuid() == 0 else tmp_path / "disk"
    path = folder / "out.h5"
    if not is_new:
        assert invoke(embed.commands.extract.extract, "-o", path).exit_code == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    small_disk("ro") if os.geteuid() == 0 else folder.chmod(0o555)
    (shop / "images" / "2.png").write_bytes(image_bytes("lime"))
    assert_one_line(invoke(embed.commands.extract.extract, "-o", path), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    folder.chmod(0o755) if os.geteuid() else None


def test_folder_of_the_output_is_made(shop, counting):
    assert invoke(embed.commands.extract.extract, "-o", "new/folders/out.h5").exit_code == 0
    assert verify("new/folders/out.h5") == []


# --- files that are no cache


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def keep_only_the_signature(path):
    path.write_bytes(path.read_bytes()[:8])


def raise_version(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99


def make_foreign(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(3)


def empty(path):
    path.write_bytes(b"")


def overwrite_with_text(path):
    path.write_text("id,image\n1,a.png\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, ["is damaged"]),
        (halve, ["is damaged"]),
        (keep_only_the_signature, ["is damaged"]),
        (raise_version, ["version 3 or version 4, got 99", "Update embed-once"]),
        (make_foreign, ["to be a file of the format 'embed-once cache'"]),
        (empty, ["to be an HDF5 file"]),
        (overwrite_with_text, ["to be an HDF5 file"]),
    ],
)
def test_file_that_is_no_whole_cache_is_left_alone(shop, counting, damage, words):
    assert invoke(embed.commands.extract.extract).exit_code == 0
    path = shop / "embeddings.h5"
    damage(path)
    before = path.read_bytes()
    counting.clear()
    result = invoke(embed.commands.extract.extract)
    assert_one_line(result, "embeddings.h5", *words)
    assert re.search(r"-o\b|[Dd]elete it", result.stderr), "the way out is not named"
    assert path.read_bytes() == before
    assert sum(encoder.n_encoded for encoder in counting) == 0
    assert sorted(os.listdir()) == ["data.csv", "embeddings.h5", "embeddings.h5.hints", "images"]
