"""A machine that is short of memory or of open files says nothing of a picture, a catalogue or the hints."""

import builtins
import csv
import errno
import io
import json
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import add_member
from PIL import Image
from support import CountingEncoder, image_bytes, small_catalogue

from cache import Cache, UnreadableError
from embed import CatalogueError, ContentError, ExtractSettings, extract, read_catalogue
from embed.catalogue.open_table import open_table
from embed.catalogue.text_file import open_text
from embed.contents.file_ranges import FilePart
from embed.contents.hash_cache import Hints
from embed.contents.images import locate, read_image

SHORT = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]


class Refusal:
    """Refuses to open a file below a path, or to say what it is."""

    def __init__(self, monkeypatch, path, number, calls=("open",)):
        self.path, self.number = str(path), number
        if "open" in calls:
            refusing = self._refusing(io.open)
            monkeypatch.setattr(builtins, "open", refusing)
            monkeypatch.setattr(io, "open", refusing)
            monkeypatch.setattr(tarfile, "bltn_open", refusing)
        if "stat" in calls:
            monkeypatch.setattr(os, "stat", self._refusing(os.stat))

    def _refusing(self, function):
        def call(path, *rest, **options):
            if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(os.path.abspath(self.path)):
                raise OSError(self.number, os.strerror(self.number), os.fspath(path))
            return function(path, *rest, **options)

        return call


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(image_bytes())
    return path


@pytest.mark.parametrize("number", SHORT)
@pytest.mark.parametrize("place", ["a file", "a part of one"])
def test_shortage_is_no_status_of_the_picture_that_was_to_be_read(picture, monkeypatch, number, place):
    Refusal(monkeypatch, picture, number)
    with pytest.raises(UnreadableError) as caught:
        read_image(picture if place == "a file" else FilePart(picture, 0, 10))
    assert (caught.value.errno, caught.value.filename) == (number, str(picture))


def test_memory_that_runs_out_while_a_picture_is_read_is_a_shortage(picture, monkeypatch):
    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr(builtins, "open", short)
    with pytest.raises(UnreadableError, match="Cannot allocate memory"):
        read_image(picture)


def test_picture_on_a_bad_block_is_unreadable_and_not_missing(picture, monkeypatch):
    Refusal(monkeypatch, picture, errno.EIO, calls=("open", "stat"))
    for ask in (lambda: read_image(picture), lambda: locate("a.png", picture.parent, allow_outside=False)):
        with pytest.raises(ContentError, match="unreadable"):
            ask()


def test_shortage_is_no_absence_of_a_picture(picture, monkeypatch):
    Refusal(monkeypatch, picture, errno.ENOMEM, calls=("stat",))
    with pytest.raises(UnreadableError):
        locate("a.png", picture.parent, allow_outside=False)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(errno.EMFILE, "Too many open files"), OSError("out of memory when reading image file")],
    ids=repr,
)
def test_decoder_that_is_short_of_something_gives_no_lasting_status(tmp_path, monkeypatch, error):
    """The next run tries again, without --retry-failed."""
    small_catalogue(tmp_path, 2)

    def run():
        encoder = CountingEncoder("image")
        settings = ExtractSettings(n_workers=1)
        extract(tmp_path / "data.csv", tmp_path / "c.h5", settings=settings, encoders=[encoder])
        with Cache(tmp_path / "c.h5") as cache:
            return encoder.n_encoded, cache.statuses("image")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", fail)
        assert run() == (0, ["changed", "changed"])
    assert run() == (2, ["ok", "ok"])


def write_csv(path):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], ["1", "one"]])


def write_json_lines(path):
    path.write_text(json.dumps({"id": "1", "text": "one"}))


def write_shard(path):
    with tarfile.open(path, "w") as tar:
        add_member(tar, "1.txt", b"one")


def write_arrow(path):
    table = pa.table({"id": ["1"], "text": ["one"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_parquet(path):
    pq.write_table(pa.table({"id": ["1"], "text": ["one"]}), path)


TABLES = {
    "c.csv": write_csv, "c.jsonl": write_json_lines, "c.tar": write_shard, "c.arrow": write_arrow,
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_catalogue_that_the_system_cannot_read_is_none_of_a_wrong_kind(tmp_path, monkeypatch, name, number):
    TABLES[name](tmp_path / name)
    assert read_catalogue(tmp_path / name, ExtractSettings(modalities=("text",))).ids == ["1"]
    Refusal(monkeypatch, tmp_path / name, number)
    with pytest.raises(UnreadableError) as caught:
        read_catalogue(tmp_path / name, ExtractSettings(modalities=("text",)))
    assert caught.value.errno == number


def test_text_that_can_no_longer_be_read_is_not_of_a_wrong_kind(tmp_path, monkeypatch):
    write_csv(tmp_path / "c.csv")
    Refusal(monkeypatch, tmp_path / "c.csv", errno.EIO)
    with pytest.raises(UnreadableError, match="Input/output error"), open_text(tmp_path / "c.csv", "utf-8"):
        pass


def test_parquet_file_that_the_system_cannot_read_is_none_of_a_wrong_kind(tmp_path, monkeypatch):
    write_parquet(tmp_path / "c.parquet")

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Failed to open local file")

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(UnreadableError, match="Too many open files"):
        open_table(tmp_path / "c.parquet")


def test_catalogue_of_which_nothing_can_be_told_is_not_said_to_be_absent(tmp_path, monkeypatch):
    write_csv(tmp_path / "c.csv")
    Refusal(monkeypatch, tmp_path / "c.csv", errno.EIO, calls=("stat",))
    with pytest.raises(UnreadableError, match="Input/output error"):
        open_table(tmp_path / "c.csv")


@pytest.mark.parametrize("name", ["none.csv", "x" * 300, "nul\0"])
def test_catalogue_that_cannot_be_there_is_said_to_be_absent(tmp_path, name):
    with pytest.raises(CatalogueError, match="is not there"):
        open_table(tmp_path / name)


def test_hints_that_were_refused_stay_until_there_are_all_new_ones(tmp_path, monkeypatch, caplog):
    path, key = tmp_path / "c.h5.hints", "ab" * 32
    pairs = [(bytes([n]) * 16, key) for n in range(1, 4)]
    with Hints(path, folder=tmp_path) as hints:
        hints.remember(pairs)
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        Refusal(patch, path, errno.EIO)
        with pytest.raises(KeyboardInterrupt), Hints(path, folder=tmp_path) as hints:  # noqa: PT012
            hints.remember(pairs[:1])
            raise KeyboardInterrupt
        assert path.stat().st_size == len(whole)
        with Hints(path, folder=tmp_path) as hints:
            hints.remember(pairs[:2])
    assert path.stat().st_size == len(whole) - 48
    assert "cannot be read (Input/output error)" in caplog.text
    assert "damaged" not in caplog.text
