"""Which products are asked for, and what a review writes down."""

import csv
import html
import json
from pathlib import Path

import numpy as np
import pytest
from support import class_vectors, image_bytes, invoke, synthetic_cache

from cache import Cache
from heads.commands.ablate import ablate
from heads.commands.audit import audit
from heads.commands.review import review as command
from heads.commands.train import train
from heads.data.corrections import read_corrections
from heads.errors import LabelError, SettingError
from heads.experiment.problem import pose
from heads.reports.report_settings import ReportSettings
from heads.review.candidates import find_candidates
from heads.review.choosing import choose_doubtful, choose_typical, doubts, rarities
from heads.review.joined_vectors import join_vectors
from heads.review.known_labels import KnownLabels, collect_labels
from heads.review.picks import choose_picks
from heads.review.review_settings import ReviewSettings
from heads.settings import TrainSettings
from heads.workflows.review import review_products

N = 90
TARGETS = np.arange(N) % 3
NAMES = ("cup", "lid", "pot")


def vectors_of(spread=0.3):
    return {name: class_vectors(TARGETS, 6, spread=spread, seed=n) for n, name in enumerate(("image", "text"))}


def shop(folder, **columns):
    """Seal a cache of cups, lids and pots, the first of which have pictures."""
    for n in range(3):
        (folder / f"{n}.png").write_bytes(image_bytes((90, n, 9)))
    cells = {"image": [f"{n}.png" for n in range(N)], "title": [f"thing {n}" for n in range(N)], **columns}
    return synthetic_cache(folder / "c.h5", vectors_of(), cells)


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("review"), kind=["cup", "lid", "pot", *[""] * (N - 3)])


def answered(path, ids, label_of=lambda n: NAMES[TARGETS[n]]):
    """Write the answers to some products as the page does, and return the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("product", "label"), *((f"{n:05}", label_of(n)) for n in ids)])
    return path


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_middles_of_clusters_are_one_of_each_the_largest_first():
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    codes = np.repeat([0, 1, 2], [20, 40, 30])
    points = centres[codes] + np.random.default_rng(0).standard_normal((90, 2))
    places, sizes = choose_typical(points, np.arange(90), 3, np.random.default_rng(1))
    assert codes[places].tolist() == [1, 2, 0]
    assert sizes.tolist() == [40, 30, 20]
    for place in places.tolist():
        cluster = np.flatnonzero(codes == codes[place])
        distances = np.linalg.norm(points[cluster] - points[cluster].mean(0), axis=1)
        assert place == cluster[distances.argmin()]


def test_equal_rows_are_asked_for_once():
    points = np.repeat([[0.0, 1.0], [3.0, 4.0]], 5, axis=0)
    places, sizes = choose_typical(points, np.arange(10), 4, np.random.default_rng(0))
    assert sorted(places // 5) == [0, 1]
    assert sizes.tolist() == [5, 5]


def test_doubt_is_a_small_margin_and_more_of_it_where_the_class_is_rare():
    probabilities = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.9, 0.05, 0.05]])
    counts = np.array([99, 24, 3])  # 1 / sqrt(n + 1): 0.1, 0.2, 0.5
    assert np.allclose(rarities(probabilities, counts), [0.3, 0.7, (0.09 + 0.01 + 0.025) / 0.5])
    assert np.allclose(doubts(probabilities, counts), [1.3, 1.7, 0.15 * 1.25])


def test_doubtful_rows_are_unlike_each_other():
    points = np.repeat(np.eye(4) * 9, 300, axis=0) + np.random.default_rng(0).standard_normal((1200, 4)) * 0.1
    doubt = np.where(np.arange(1200) % 300 < 150, 1.0, 0.1)  # half of each of four clusters, 600 in all
    places = choose_doubtful(points, np.arange(1200), doubt, 4, np.random.default_rng(0))
    assert sorted(places // 300) == [0, 1, 2, 3]
    assert (doubt[places] == 1.0).all()


def test_a_candidate_has_no_label_no_copy_no_placeholder_and_a_vector(tmp_path):
    n = 80
    titles = [*[f"title {k}" for k in range(50)], *["nan"] * 30]  # the last 30 have one title, and 15 no picture
    pictures = [f"picture {k}" for k in range(n)]
    pictures[1], pictures[3] = "picture 0", "picture 2"  # copies: of what has a label, and of each other
    present = {"image": (np.arange(n) != 5) & (np.arange(n) < 65), "text": np.arange(n) != 5}
    contents = {"image": pictures, "text": titles}
    vectors = {name: np.random.default_rng(k).standard_normal((n, 4)) for k, name in enumerate(contents)}
    vectors["image"][[1, 3]] = vectors["image"][[0, 2]]
    vectors["text"][50:] = vectors["text"][50]
    path = synthetic_cache(
        tmp_path / "c.h5", vectors, {"kind": ["cup", *[""] * (n - 1)]}, present=present, contents=contents
    )
    with Cache(path) as cache:
        encoders = {"image": "synthetic", "text": "synthetic"}
        _, has_vector = join_vectors(cache, encoders)
        known = collect_labels("kind", cache.column("kind"))
        found = find_candidates(cache, known, encoders=encoders, has_vector=has_vector)
    assert found.rows.tolist() == [2, 4, *range(6, 65)]
    assert (found.n_copies, found.n_placeholders, found.n_without_vector) == (2, 15, 1)


def test_page_s_lines_are_what_a_shell_takes_and_repeat_what_was_asked_for(cache_path, tmp_path):
    """The file's name stood there unquoted, and encoders and classes were left out."""
    settings = ReviewSettings(label="kind", encoders={"text": "synthetic"}, classes=("new one", "b"), count=5)
    report = review_products(cache_path, tmp_path / "my review.html", settings=settings)
    page = html.unescape(report.page_path.read_text(encoding="utf-8"))
    rest = f"{cache_path} --label kind --encoder text=synthetic"
    labels = "--corrections 'my review-labels.csv'"
    assert f"heads-train {rest} {labels}\n" in page
    assert f"heads-review {rest} --classes 'new one,b' {labels}" in page


def test_vectors_of_each_modality_are_centred_and_of_length_1(cache_path):
    with Cache(cache_path) as cache:
        joined, has = join_vectors(cache, {"image": "synthetic", "text": "synthetic"})
        plain = cache.matrix("text")
    plain = plain - plain.mean(axis=0)
    assert np.allclose(joined[:, 6:], plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)
    assert has.all()


def test_what_the_head_knows_is_asked_for_last_and_a_class_without_labels_is_never_suggested():
    vectors = np.concatenate(list(vectors_of(spread=0.05).values()), axis=1)
    vectors[7] = (vectors[0] + vectors[1]) / 2  # neither a cup nor a lid
    known = KnownLabels("kind", ["bowl", *NAMES], np.where(np.arange(N) < 6, TARGETS + 1, -1))
    picks = choose_picks(vectors, known, np.arange(6, N), 5, np.random.default_rng(0))
    assert picks[0].row == 7
    assert picks[0].reason.removesuffix("; few labels of them yet") in ("cup or lid", "lid or cup")
    assert all("bowl" not in dict(pick.likely) for pick in picks)
    assert len({pick.row for pick in picks}) == 5


def test_a_column_that_is_not_there_yet_is_filled_from_nothing(cache_path, tmp_path):
    settings = ReviewSettings(label="shape", classes=("round", "flat"), count=6)
    report = review_products(cache_path, tmp_path / "r.html", settings=settings)
    assert (report.n_labelled, report.n_asked, report.n_candidates) == (0, 6, N)
    assert report.classes == ["flat", "round"]
    assert report.notes[0] == f"No column shape yet: all {N} products are unlabelled."
    rows = rows_of(report.table_path)
    assert list(rows[0]) == ["product", "label", "suggested", "probability", "why", "title"]
    assert {row["label"] + row["suggested"] for row in rows} == {""}
    assert len({TARGETS[int(row["product"])] for row in rows}) == 3
    assert rows[0]["why"].startswith("stands for ")


def test_a_mistyped_column_is_an_error_that_names_the_right_one(cache_path, tmp_path):
    for typed in ("Kind", "knd", "k_ind"):
        with pytest.raises(LabelError, match=rf"got '{typed}'\. Did you mean kind\? A new column needs"):
            review_products(cache_path, tmp_path / "r.html", settings=ReviewSettings(label=typed))
    assert not (tmp_path / "r.html").exists()
    with Cache(cache_path) as cache, pytest.raises(LabelError, match=r"got 'kinds'\. Did you mean kind\?$"):
        pose(cache, TrainSettings(label="kinds"))


def test_answers_are_read_back_by_a_review_and_by_a_training(cache_path, tmp_path):
    path = answered(tmp_path / "answers.csv", range(3, 60))
    report = review_products(
        cache_path, tmp_path / "r.html", settings=ReviewSettings(label="kind", corrections=path, count=5)
    )
    assert report.n_labelled == 60
    asked, earlier = rows_of(report.table_path)[:5], rows_of(report.table_path)[5:]
    assert all(int(row["product"]) >= 60 and row["label"] == "" for row in asked)
    assert {row["suggested"] for row in asked} <= set(NAMES)
    assert {row["why"] for row in earlier} == {"labelled before"}
    assert read_corrections(report.table_path).labels == read_corrections(path).labels  # the last table holds all
    page = report.page_path.read_text(encoding="utf-8")
    assert page.count("&#34;00059&#34;") == 1  # the download has the earlier answers, too
    with Cache(cache_path) as cache:
        labels = pose(cache, TrainSettings(label="kind", corrections=path)).labels
        new = pose(cache, TrainSettings(label="shape", corrections=path)).labels
        with pytest.raises(LabelError, match="--label: expected one of the catalogue's columns"):
            pose(cache, TrainSettings(label="shape"))
    assert labels.targets.tolist() == [*TARGETS[:60], *[-1] * 30]
    assert new.targets.tolist() == [-1, -1, -1, *TARGETS[3:60], *[-1] * 30]


def test_answers_that_are_alike_or_say_nothing_are_told(cache_path, tmp_path):
    path = answered(tmp_path / "answers.csv", range(3, 12), label_of=lambda n: ("Cup", "?", "lid")[n % 3])
    report = review_products(
        cache_path, tmp_path / "r.html", settings=ReviewSettings(label="kind", corrections=path, count=5)
    )
    assert any("'cup' = 'Cup'" in note or "'Cup' = 'cup'" in note for note in report.notes)
    assert any(note.startswith("3 rows have a word for nothing as the label (?)") for note in report.notes)


def test_no_page_or_table_is_written_over(cache_path, tmp_path):
    """A browser has answers to the one, and a person's labels may stand in the other."""
    settings = ReviewSettings(label="kind", count=3)
    report = review_products(cache_path, tmp_path / "r.html", settings=settings)
    table = report.table_path.read_text(encoding="utf-8")
    report.table_path.write_text(table.replace(",,", ",cup,", 1), encoding="utf-8")
    with pytest.raises(SettingError, match=r"not there yet, got r\.html and r\.csv"):
        review_products(cache_path, tmp_path / "r.html", settings=settings)
    assert read_corrections(report.table_path).labels  # it can be read as it is
    with pytest.raises(SettingError, match="expected a page's name"):
        review_products(cache_path, tmp_path / "r.csv", settings=settings)
    with pytest.raises(SettingError, match="--image-root: expected the folder of the pictures, got nowhere"):
        review_products(cache_path, settings=settings, report=ReportSettings(image_root=Path("nowhere")))


def test_where_every_product_has_a_label_nobody_is_asked(tmp_path):
    path = shop(tmp_path, kind=[NAMES[code] for code in TARGETS])
    with pytest.raises(LabelError, match="90 of 90 have one"):
        review_products(path, tmp_path / "r.html", settings=ReviewSettings(label="kind"))


def test_the_command_says_what_is_asked_for_and_numbers_its_pages(cache_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        result = invoke(command, cache_path, "--label", "kind", "--count", 4)
        assert result.exit_code == 0, result.stderr
        assert "kind: 3 of 90 products have a label, of 3 classes." in result.stdout
        assert "4 of 87 that may be asked for" in result.stdout
        assert f"review-00{number}.html" in result.stdout
        assert (tmp_path / f"review-00{number}.csv").is_file()
    result = invoke(command, cache_path, "--label", "kind", "--count", 4, "-o", "r.html", "--json")
    assert json.loads(result.stdout)["n_asked"] == 4


@pytest.mark.parametrize("heads_command", [train, ablate, audit, command])
def test_encoder_that_names_no_modality_is_the_same_error_in_each_command(cache_path, heads_command):
    result = invoke(heads_command, cache_path, "--encoder", "resnet18")
    assert result.exit_code == 1
    assert result.stderr == "Error: --encoder: expected MODALITY=NAME such as image=resnet18, got 'resnet18'.\n"
