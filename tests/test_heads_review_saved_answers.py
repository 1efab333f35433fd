"""The answers to a review page are saved as they are given, and nothing that was saved is lost."""

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import write_review_page

from heads.data.corrections import read_corrections
from heads.errors import LabelError, SettingError
from heads.review.saved_answers import SavedAnswers

QUOTED = 'a "cup", <large>'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The bytes of a page that asks for eight products, and repeats one earlier answer."""
    return write_review_page(tmp_path_factory.mktemp("review")).read_bytes()


@pytest.fixture
def saved(page, tmp_path):
    (tmp_path / "r.html").write_bytes(page)
    return SavedAnswers(tmp_path / "r.html")


def files_of(saved):
    return sorted(path.name for path in saved.path.parent.iterdir() if path.is_file())


def test_answers_are_those_that_the_page_would_download(saved):
    assert saved.labels() == {}
    assert saved.save({"0": QUOTED, "1": "b", "2": None}) == 3
    assert saved.path.name == "r-labels.csv"
    assert dict(read_corrections(saved.path).labels) == {"x3": QUOTED, "0": QUOTED, "1": "b"}
    assert SavedAnswers(saved.page_path).labels() == {"0": QUOTED, "1": "b"}
    saved.save(saved.check([["0", None], ["1", "  tea\n cup "]]))
    assert saved.labels() == {"1": "tea cup"}


def test_answers_that_others_wrote_stay(saved):
    """Another server of the same page, and a person with a spreadsheet."""
    saved.path.write_text("label;product\nb;0\ny;elsewhere\n")
    servers = [saved, *(SavedAnswers(saved.page_path) for _ in range(2))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: servers[n % 3].save({str(n): f"c{n}"}), range(1, 8)))
    answers = {str(n): f"c{n}" for n in range(1, 8)}
    labels = dict(read_corrections(saved.path).labels)
    assert labels == {"elsewhere": "y", "0": "b", **answers}
    assert files_of(saved) == ["r-labels.csv", "r.html"]


def test_a_label_that_a_person_deletes_from_the_file_stays_deleted(saved):
    """One of an earlier page, too, which the file begins with."""
    saved.save({"0": "a", "1": "b"})
    assert dict(read_corrections(saved.path).labels) == {"x3": QUOTED, "0": "a", "1": "b"}
    saved.path.write_text("product,label\n1,b\n")
    saved.save({"2": "c"})
    assert dict(read_corrections(saved.path).labels) == {"1": "b", "2": "c"}


def test_where_the_disk_is_full_the_file_is_as_it_was(saved, monkeypatch):
    saved.save({"0": "a"})
    before = saved.path.read_bytes()

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cache.system.aside.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        saved.save({"1": "b"})
    assert saved.path.read_bytes() == before
    assert files_of(saved) == ["r-labels.csv", "r.html"]


def test_a_file_that_is_no_table_any_more_is_never_written_over(saved):
    saved.path.write_text("product\n1\n")
    for use in (lambda: saved.save({"0": "a"}), lambda: SavedAnswers(saved.page_path)):
        with pytest.raises(LabelError, match="columns product and label"):
            use()
    assert saved.path.read_text() == "product\n1\n"


def test_what_is_no_answer_of_the_page_is_refused(saved):
    """A product of another page, a label that the file could not hold."""
    for answers in (
        None, {}, ["ab"], [["0"]], [["elsewhere", "a"]], [[0, "a"]], [["0", ""]], [["0", 1]], [["0", "a\0"]],
        [["0", "\ud800"]], [["0", "a" * 501]],
    ):  # fmt: skip
        with pytest.raises(SettingError, match="Expected"):
            saved.check(answers)


def test_what_is_no_page_of_this_version_is_named(page, tmp_path):
    path = tmp_path / "r.html"
    for content in (None, b"<html>", b"\xff", page.replace(b"script-src 'sha256-", b"script-src 'sha256-o")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingError, match="--review: expected a page"):
            SavedAnswers(path)
