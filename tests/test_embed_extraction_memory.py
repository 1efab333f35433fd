"""How much memory a row of the catalogue takes while nothing is to be encoded, by the bytes that Python allocates."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from support import CountingEncoder

from cache import Cache
from cache.arrays.large_arrays import memory_limit
from embed import ExtractSettings, extract
from embed.catalogue.catalogue import read_catalogue

N_ROWS = 8000
SETTINGS = ExtractSettings(modalities=("text",))
CUT = (
    "cache.format.checked_tables.BLOCK_ROWS",
    "cache.arrays.large_arrays.BLOCK_ROWS",
    "cache.arrays.string_column.BLOCK_ROWS",
    "cache.arrays.key_index.BLOCK_ROWS",
    "cache.arrays.key_column.BLOCK_ROWS",
    "cache.inventory.planning.BLOCK_ROWS",
    "embed.catalogue.formats.csv.BATCH_ROWS",
    "embed.catalogue.formats.csv.PIECE_ROWS",
    "embed.extraction.source.gathered_contents.BLOCK_ROWS",
)
TEXT = "a title of some forty letters and of more "


class PlainEncoder(CountingEncoder):
    """Gives all contents one vector."""

    def encode(self, batch):
        self.n_encoded += len(batch)
        return np.ones((len(batch), self.dim), dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A catalogue whose texts are extracted."""
    folder = tmp_path_factory.mktemp("memory")
    lines = (f"{n:08},{TEXT}{n},class {n % 50}\n" for n in range(N_ROWS))
    (folder / "data.csv").write_text("id,text,label\n" + "".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cache.format.writer.BLOCK_ROWS", 256)  # a chunk, which is read whole
        extract(folder / "data.csv", folder / "e.h5", settings=SETTINGS, encoders=[PlainEncoder("text")])
    return folder


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """What is at hand at once must not hide what is kept."""
    for name in CUT:
        monkeypatch.setattr(name, 256)


def bytes_a_row(run):
    """Return what is allocated at most beyond what an earlier call finds allocated, a row.

    It is the less of two calls: what else the process allocates meanwhile, such as a list of its own that grows, comes
    once, and 16 kB are two bytes a row.
    """
    run()
    return min(_peak_bytes(run), _peak_bytes(run)) / N_ROWS


def _peak_bytes(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_cells_are_kept_as_bytes(folder):
    """A row has 66 bytes, and 24 of where they begin; as strings they took 277, and the check of ids made it 359."""
    assert bytes_a_row(lambda: read_catalogue(folder / "data.csv", SETTINGS)) < 220


@pytest.mark.parametrize(("memory", "most"), [(None, 240), ("1K", 60)], ids=["in memory", "on the disk"])
def test_a_run_that_finds_nothing_to_do_takes_little_a_row(folder, memory, most, monkeypatch):
    """It took 976 bytes; on the disk are cells, keys and rows, whatever their number."""
    monkeypatch.setattr("cache.arrays.large_arrays.SMALL_BYTES", 1024)
    monkeypatch.setattr("cache.format.checked_tables.MOST_HASHED_BYTES", 1024)  # larger tables are read by blocks
    encoder = PlainEncoder("text")
    line = folder / "data.csv", folder / "e.h5"
    settings = replace(SETTINGS, memory=memory)
    n_bytes = bytes_a_row(lambda: extract(*line, settings=settings, encoders=[encoder]))
    assert n_bytes < most
    assert not encoder.n_encoded


@pytest.mark.parametrize("ask", [Cache.id_column, lambda cache: cache.status_column("text")], ids=["ids", "statuses"])
def test_what_a_changed_catalogue_is_held_against_takes_little_a_row(ask, folder, tmp_path, monkeypatch):
    """Ids took eight bytes more a row, their letters; statuses took eight as soon as one product was bad."""
    monkeypatch.setattr("cache.arrays.large_arrays.SMALL_BYTES", 1024)
    monkeypatch.setattr("cache.format.checked_tables.MOST_HASHED_BYTES", 1024)
    with memory_limit(1, tmp_path), Cache(folder / "e.h5") as cache:
        assert bytes_a_row(lambda: ask(cache)) < 7
