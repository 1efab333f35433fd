"""Tokens: as many rows a content as it has words or cells, from the encoder to the reader."""

import json
from itertools import chain

import h5py
import numpy as np
import pytest
from altered import read_all
from support import invoke, synthetic_cache

from cache import (
    Cache,
    CacheError,
    Contents,
    DamagedCacheError,
    EncoderSpec,
    Inventory,
    Journal,
    MissingEntryError,
    Part,
    Products,
    Tokens,
    content_key,
    seal,
    verify,
)
from cache.commands.info import info
from cache.format.layout import open_checked
from cache.format.source_file import SourceFile
from cache.inventory import sealing
from cache.journal.part_file import PartFile, PartTokens, load_part
from cache.tokens import MOST_TOKENS

DIM = 4
WRAPPING = [0, 2**63 - 1, -(2**63), -1, 3]  # each difference is positive, in int64
SPEC = EncoderSpec("text", {"weights": "drawn", "tokens": True})


def key(name):
    return content_key(name.encode())


def states(name, dim=DIM):
    """Return tokens that only this name has, and as many as it has letters."""
    drawn = np.random.default_rng(list(name.encode())).standard_normal((len(name), dim))
    return drawn.astype(np.float16)


def part_of(*names, spec=SPEC, tokens=None, failures=()):
    vectors = np.array([[len(name), ord(name[0])] for name in names], dtype=np.float32).reshape(len(names), -1)
    tokens = Tokens.of([states(name) for name in names]) if tokens is None else tokens
    return Part(
        "words", spec, [key(name) for name in names], vectors, dict.fromkeys(map(key, failures), "torn"), tokens
    )


def publish(path, *names, **options):
    with Journal(path) as journal:
        return journal.publish(part_of(*names, **options))


def sealed(path, names):
    products = Products(
        [str(n) for n in range(len(names))], {}, {"text": Contents([*map(key, names)], ["ok"] * len(names))}
    )
    with Journal(path) as journal:
        return seal(path, journal, products)


def assert_tokens(path, names, missing=()):
    """Each name has its own tokens, in the cache's order of keys; those that are missing have none."""
    with Cache(path) as cache:
        tokens, rows = cache.tokens("text"), cache.rows("text")
        assert len(tokens) == len(cache.keys("text"))
        for name, row in zip(names, rows, strict=True):
            expected = np.zeros((0, DIM), np.float16) if name in missing else states(name)
            assert np.array_equal(tokens[int(row)], expected), name
    assert verify(path) == []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.h5"


# The arrays.


def test_tokens_are_as_many_as_each_content_has():
    tokens = Tokens.of([states("ab"), states("c"), states("def")])
    assert len(tokens) == 3
    assert tokens.offsets.tolist() == [0, 2, 3, 6]
    assert tokens.counts.tolist() == [2, 1, 3]
    assert tokens.n_dim == DIM
    assert np.array_equal(tokens[1], states("c"))
    assert np.array_equal(tokens[-1], states("def"))


def test_a_content_outside_is_an_index_error():
    tokens = Tokens.of([states("ab"), states("c")])
    for content in (2, -3):
        with pytest.raises(IndexError):
            tokens[content]


@pytest.mark.parametrize("rows", [[], [2], [0, 1, 2], [2, 0, 2, 1, 1]])
def test_some_contents_are_taken_in_the_order_asked(rows):
    names = ["ab", "c", "def"]
    tokens = Tokens.of([states(name) for name in names]).take(np.array(rows, dtype=np.int64))
    assert [array.tolist() for array in tokens] == [states(names[row]).tolist() for row in rows]
    assert tokens.n_dim == DIM


def test_tokens_are_put_together():
    pieces = [Tokens.of([states("ab"), states("c")]), Tokens.of([]), Tokens.of([states("def")])]
    tokens = Tokens.concatenated(pieces)
    assert [array.tolist() for array in tokens] == [states(name).tolist() for name in ("ab", "c", "def")]
    assert len(Tokens.concatenated([])) == 0


def test_tokens_of_several_dimensions_are_not_put_together():
    with pytest.raises(CacheError, match=r"shape \(any, 4\), but some are float16 of shape \(1, 3\)"):
        Tokens.concatenated([Tokens.of([states("a")]), Tokens.of([states("a", 3)])])


@pytest.mark.parametrize(
    ("values", "offsets", "message"),
    [
        (np.zeros((3, 2), np.float32), [0, 3], "one float16 row each, got float32"),
        (np.zeros(3, np.float16), [0, 3], "one float16 row each"),
        (np.zeros((3, 2), np.float16), [], "int64 in order"),
        (np.zeros((3, 2), np.float16), [0, 2, 1, 3], "int64 in order"),
        (np.zeros((3, 2), np.float16), WRAPPING, "int64 in order"),
        (np.zeros((3, 2), np.float16), [[0, 3]], "int64 in order"),
        (np.zeros((3, 2), np.float16), [0.0, 3.0], "int64 in order"),
        (np.zeros((3, 2), np.float16), [0, 2], "from 0 to 3, but they go from 0 to 2"),
        (np.zeros((3, 2), np.float16), [1, 3], "from 0 to 3, but they go from 1 to 3"),
    ],
)
def test_arrays_that_are_no_tokens_are_refused(values, offsets, message):
    with pytest.raises(CacheError, match=message):
        Tokens(values, np.array(offsets))


@pytest.mark.parametrize(
    "array", [np.zeros(4, np.float16), np.zeros((1, 3), np.float16), np.zeros((1, 4), np.float32), np.float16(1)]
)
def test_contents_whose_tokens_differ_in_kind_are_refused(array):
    with pytest.raises(CacheError, match="to be float16 of shape"):
        Tokens.of([states("ab"), array])


# A part.


def test_part_comes_back_with_its_tokens(path):
    back = load_part(publish(path, "ab", "c", "def"))
    assert [array.tolist() for array in back.tokens] == [states(name).tolist() for name in ("ab", "c", "def")]


def test_part_without_tokens_has_none(path):
    with Journal(path) as journal:
        part = Part("words", SPEC, [key("a")], np.ones((1, 2), np.float32), {})
        assert load_part(journal.publish(part)).tokens is None


def part_file(part_path):
    """Return the part's file as it is now."""
    with SourceFile(part_path) as source:
        return PartFile(part_path, source.identity)


def test_some_contents_of_a_part_are_read_alone(path):
    part_path = publish(path, *"abcdefgh")
    for rows in ([], [0], [7], [0, 1, 2], [1, 2, 5, 7]):
        tokens = PartTokens(part_file(part_path)).take(np.array(rows, dtype=np.int64))
        assert tokens.tolist() == [states("abcdefgh"[row])[0].tolist() for row in rows]


def test_part_whose_tokens_are_not_in_one_piece_is_refused(path):
    part_path = publish(path, *"abcdefgh")
    with h5py.File(part_path, "r+") as file:
        values = file["token"][:]
        del file["token"]
        file.create_dataset("token", data=values, chunks=(2, DIM), fletcher32=True)
    with pytest.raises(DamagedCacheError, match="to have its tokens in one piece"):
        PartTokens(part_file(part_path))


def test_more_tokens_than_a_content_may_have_are_refused():
    """Else they would be sealed into a cache that nobody reads."""
    permitted = Tokens.of([np.zeros((MOST_TOKENS, 1), np.float16), states("c", 1)])
    assert part_of("ab", "c", tokens=permitted).tokens is permitted
    too_many = Tokens.of([np.zeros((MOST_TOKENS + 1, 1), np.float16), states("c", 1)])
    with pytest.raises(CacheError, match="at most 65536 tokens, but one of text/words has 65537"):
        part_of("ab", "c", tokens=too_many)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_token_that_is_not_finite_is_refused_and_its_content_named(value):
    tokens = Tokens.of([states(name) for name in ("ab", "c", "def")])
    tokens.values[2, 1] = value
    with pytest.raises(CacheError, match=f"Expected finite tokens.*text/words.*{key('c')[:12]}"):
        part_of("ab", "c", "def", tokens=tokens)


@pytest.mark.parametrize(
    "arrays",
    [
        [],
        [states("ab")],
        [states("ab"), states("c"), states("d")],
        [states("ab"), states("")],
        [states("ab", 0), states("c", 0)],
    ],
    ids=["none", "too few", "too many", "one empty", "no dimensions"],
)
def test_anything_but_a_token_or_more_a_key_is_refused(arrays):
    with pytest.raises(CacheError, match="one token or more per key, but text/words has 2 keys"):
        part_of("ab", "c", tokens=Tokens.of(arrays))


# Sealing.


def test_sealed_tokens_are_read_by_content(path):
    publish(path, "ab", "c", "def", failures=["torn"])
    sealed(path, ["def", "c", "torn", "ab"])
    assert_tokens(path, ["def", "c", "torn", "ab"], {"torn"})
    with Cache(path) as cache:
        assert cache.has_tokens("text", "words")
        assert cache.token_dimension("text", "words") == DIM
        assert cache.token_counts("text", "words").tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize("block_rows", [1, 2, 3, 7, 100])
def test_blocks_do_not_change_what_is_sealed(path, monkeypatch, block_rows):
    """Old contents, parts across the blocks' borders, a content twice, and one longer than a block."""
    monkeypatch.setattr(sealing, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr("cache.format.writer.BLOCK_ROWS", block_rows)
    monkeypatch.setattr("cache.format.writer.CHUNK_ROWS", 2)
    names = ["ab", "c", "def", "ghijklmnop", "q", "rs", "tuv", "w", "xyz"]
    publish(path, *names[:3])
    sealed(path, names[:3])
    publish(path, names[7], names[4], names[3])
    publish(path, names[1], names[8], names[4], failures=[names[6]])
    publish(path, names[5])
    sealed(path, names)
    assert_tokens(path, names, {names[6]})


@pytest.mark.parametrize("is_sealed", [False, True])
def test_content_that_was_encoded_twice_keeps_one_copy_of_its_tokens(path, is_sealed):
    """Were it ever given another number of tokens, the others' would still be theirs."""
    publish(path, "ab", "c")
    if is_sealed:
        sealed(path, ["ab", "c"])
    publish(path, "ab", "d", tokens=Tokens.of([states("zzzz"), states("zzz")]))
    sealed(path, ["ab", "c", "d"])
    with Cache(path) as cache:
        sealed_tokens = [tokens.tolist() for tokens in cache.tokens("text")]
    expected = [states("zzzz").tolist(), states("c").tolist(), states("zzz").tolist()]
    assert sealed_tokens in (expected, [states("ab").tolist(), *expected[1:]])
    assert verify(path) == []


def test_same_work_in_other_parts_makes_the_same_cache(tmp_path):
    digests = set()
    for n, parts in enumerate([["abcd"], ["ab", "cd"], ["d", "c", "b", "a"]]):
        path = tmp_path / f"{n}.h5"
        for names in parts:
            publish(path, *names)
        sealed(path, list("cadb"))
        with Cache(path) as cache:
            digests.add(cache.content_sha256)
    assert len(digests) == 1


def test_parts_are_read_a_few_contents_at_a_time(path, monkeypatch):
    """Texts are encoded by length and sealed in another order: a part is not read whole for each block."""
    publish(path, *"abcdefghijklmnopqrstuvwxyz")
    read = []
    real_take = PartTokens.take

    def noting(part, rows, opened):
        read.append(rows.tolist())
        return real_take(part, rows, opened)

    monkeypatch.setattr(PartTokens, "take", noting)
    monkeypatch.setattr(sealing, "BLOCK_ROWS", 5)
    sealed(path, list("zyxwvutsrqponmlkjihgfedcba"))
    assert max(map(len, read)) == 5
    assert sorted(chain(*read)) == list(range(26))
    assert_tokens(path, list("abcdefghijklmnopqrstuvwxyz")[::-1])


def test_number_of_blocks_does_not_change_how_often_a_file_is_opened_or_its_offsets_are_read(path, monkeypatch):
    """Else the work would grow with the square of the catalogue."""
    publish(path, *"abcdefgh")
    sealed(path, list("abcdefgh"))
    publish(path, *"ijklmnop")
    publish(path, *"qrstuvwxyz")
    with Journal(path) as journal:
        inventory = Inventory(path, journal)
        table = sealing.TokenTable(inventory, "text", "words")
    opened = []

    def noting(file_path, **options):
        opened.append(file_path.name)
        return open_checked(file_path, **options)

    for module in ("cache.journal.part_file", "cache.format.checked_tables"):
        monkeypatch.setattr(f"{module}.open_checked", noting)
    monkeypatch.setattr(Cache, "_token_offsets", lambda *_: pytest.fail("they were read again"))
    tokens = np.concatenate(list(table.blocks(1)))
    assert len(opened) == len(set(opened)) == 3
    name_of = {key(name): name for name in "abcdefghijklmnopqrstuvwxyz"}
    assert np.array_equal(tokens, np.concatenate([states(name_of[digest]) for digest in inventory.keys["text"]]))


@pytest.mark.parametrize("where", ["cache", "journal"])
@pytest.mark.parametrize("first_has", ["with", "without"])
def test_entry_has_tokens_for_all_its_contents_or_for_none(path, where, first_has, caplog):
    """The part that does not fit the sealed ones, or most, is set aside, and the next run does its work again."""
    with_tokens, without = part_of("ab"), Part("words", SPEC, [key("c")], np.ones((1, 2), np.float32), {})
    first_part, second_part = (
        (with_tokens, without) if first_has == "with" or where == "journal" else (without, with_tokens)
    )
    with Journal(path) as journal:
        journal.publish(first_part)
        if where == "cache":
            seal(path, journal, Products(["p"], {}, {"text": Contents(first_part.keys, ["ok"] * len(first_part.keys))}))
        stray = journal.publish(second_part)
        assert Inventory(path, journal).entries["text", "words"].keys == set(first_part.keys)
        assert [path_aside.name for path_aside in stray.parent.glob("*.damaged")] == [stray.name + ".damaged"]
    assert (
        f"the journal's part {stray.name} has 2 and {'no tokens' if second_part is without else 'tokens of'}"
        in caplog.text
    )


def test_part_whose_tokens_have_another_dimension_is_set_aside(path, caplog):
    publish(path, "ab")
    publish(path, "c", tokens=Tokens.of([states("c", 3)]))
    with Journal(path) as journal:
        assert Inventory(path, journal).entries["text", "words"].token_dim == 4
    assert "tokens of 4 dimensions, but" in caplog.text
    assert "tokens of 3 dimensions. It is set aside as" in caplog.text


def test_failures_alone_say_nothing_of_tokens(path):
    failed = Part("words", SPEC, [], np.zeros((0, 0), np.float32), {key("torn"): "torn"})
    with Journal(path) as journal:
        journal.publish(failed)
    publish(path, "ab")
    sealed(path, ["ab", "torn"])
    assert_tokens(path, ["ab", "torn"], {"torn"})


def test_seal_says_how_much_space_the_tokens_take(path, monkeypatch):
    publish(path, "ab", "c")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 300}))
    with pytest.raises(CacheError, match="free space beside the cache to seal it"):
        sealed(path, ["ab", "c"])
    with Journal(path) as journal:
        inventory = Inventory(path, journal)
        table = sealing.TokenTable(inventory, "text", "words")
    assert table.n_bytes == 2 * 3 * DIM + 8 * 3


def test_plain_h5py_reads_the_tokens(path):
    publish(path, "ab", "c", "def")
    sealed(path, ["c", "def", "ab"])
    with h5py.File(path) as file:
        offset = file["text/words/token_offset"][:]
        assert file["text/words/token"].fletcher32
        assert np.array_equal(file["text/words/token"][offset[1] : offset[2]], states("def"))


# Reading.


def test_tokens_that_are_not_there_are_a_named_error(tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.eye(3)}, {})
    with Cache(path) as cache:
        assert not cache.has_tokens("text", "synthetic")
        assert cache.token_dimension("text", "synthetic") == 0
        with pytest.raises(MissingEntryError, match=r"text/synthetic to have tokens.*embed-extract --tokens"):
            cache.tokens("text")


def test_info_shows_tokens(path):
    publish(path, "ab", "c", "def")
    sealed(path, ["c", "def", "ab"])
    (entry,) = json.loads(invoke(info, path, "--json").stdout)["encoders"]
    assert entry["tokens"] == {"n_tokens": 6, "fewest": 1, "most": 3, "dimension": DIM, "bytes": 2 * 6 * DIM}
    lines = [line.split() for line in invoke(info, path).stdout.splitlines()]
    assert ["encoder", "vectors", "dimensions", "tokens", "a", "vector", "dimensions", "MB"] in lines
    assert ["text/words", "3", "2", "6", "1–3", str(DIM), "0.0"] in lines


def test_every_value_is_read_again_after_another_seal(path):
    publish(path, "ab", "c", "def")
    sealed(path, ["c", "def", "ab"])
    before = read_all(path)
    assert not sealed(path, ["c", "def", "ab"])
    assert read_all(path) == before
