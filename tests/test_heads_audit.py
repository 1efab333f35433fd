"""An audit: what each detector finds in evidence that is known, and a whole catalogue from the command to the page."""

import csv
import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, image_bytes, invoke, synthetic_cache

from cache.console.progress import Progress
from heads.audit import nearest as nearest_module
from heads.audit.class_halves import ashman_d, find_class_halves
from heads.audit.class_pairs import find_class_pairs
from heads.audit.disagreements import find_disagreements
from heads.audit.evidence import Evidence
from heads.audit.label_errors import is_label_issue, rank_labels
from heads.audit.near_copies import find_near_copies
from heads.audit.nearest import Nearest, find_nearest
from heads.audit.out_of_fold import Opinions, OutOfFold, class_thresholds
from heads.audit.outliers import find_outliers, too_small_notes
from heads.commands.audit import audit
from heads.data.corrections import read_corrections
from heads.data.labels import Labels
from heads.data.vectors import Vectors
from heads.experiment.problem import Problem

HOSTILE = "<script>alert(1)</script> & \"'é"


def evidence_of(targets, *, vectors=None, said=None, opinions=None, groups=None, k=2):
    """Return the evidence on rows of these classes, with a head that is sure of every label unless it is told."""
    targets = np.array(targets)
    n_rows, n_classes = len(targets), int(targets.max()) + 1
    vectors = {name: torch.tensor(matrix, dtype=torch.float32) for name, matrix in (vectors or {}).items()}
    groups = np.arange(n_rows) if groups is None else np.array(groups)
    problem = Problem(
        ids=[str(row) for row in range(n_rows)],
        vectors={},
        labels=Labels("label", [f"class {code}" for code in range(n_classes)], targets, []),
        groups=groups,
        is_placeholder=np.zeros(n_rows, dtype=bool),
        folds=[],
        fusions=(),
        notes=[],
        content_sha256="",
    )
    every = np.ones(n_rows, dtype=bool)
    sure = OutOfFold(
        is_tested=every,
        given_probabilities=np.full(n_rows, 0.9, np.float32),
        alternatives=(targets + 1) % n_classes,
        alternative_probabilities=np.full(n_rows, 0.05, np.float32),
        confident_classes=targets.copy(),
        thresholds=np.full(n_classes, 0.9, np.float32),
        by_modality=opinions or {},
    )
    held = Vectors(
        encoders={},
        specs={},
        inputs=vectors,
        present={name: torch.ones(n_rows, dtype=torch.bool) for name in vectors},
    )
    found = {name: find_nearest(held, name, usable=every, targets=targets, groups=groups, k=k) for name in vectors}
    return Evidence(problem, held, said or sure, found)


def test_thresholds_are_the_mean_probability_of_a_class_in_its_own_rows():
    thresholds = class_thresholds(np.array([0.9, 0.5, 0.4], np.float32), np.array([0, 0, 1]), 3)
    assert thresholds.tolist() == pytest.approx([0.7, 0.4, np.inf])


def test_nearest_are_those_of_all_cosines_without_copies(monkeypatch):
    """In blocks of three, against the plain product of all centred directions."""
    monkeypatch.setattr(nearest_module, "ASKED_AT_ONCE", 3)
    monkeypatch.setattr(nearest_module, "STORED_AT_ONCE", 3)
    generator = np.random.default_rng(0)
    matrix, targets = generator.standard_normal((11, 4)).astype(np.float32), generator.integers(3, size=11)
    groups, usable = np.array([0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7]), np.arange(11) != 9
    vectors = Vectors(
        encoders={}, specs={}, inputs={"text": torch.tensor(matrix)}, present={"text": torch.arange(11) != 4}
    )
    nearest = find_nearest(vectors, "text", usable=usable, targets=targets, groups=groups, k=4)
    rows = np.flatnonzero(usable & (np.arange(11) != 4))
    centred = matrix[rows] - matrix[rows].mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = np.full((11, 11), -9.0)
    cosines[np.ix_(rows, rows)] = centred @ centred.T
    copies, alike = groups[:, None] == groups, targets[:, None] == targets
    assert nearest.is_compared.tolist() == np.isin(np.arange(11), rows).tolist()
    for row in rows.tolist():
        expected = np.argsort(-np.where(copies[row], -9, cosines[row]))[:4]
        assert nearest.rows[row].tolist() == expected.tolist()
        assert nearest.cosines[row] == pytest.approx(cosines[row, expected], abs=1e-6)
        assert (
            nearest.other_label_rows[row] == np.where(alike[row], -9, cosines[row]).argmax()
        )  # a copy of another label, too
    assert (nearest.rows[[4, 9]] == -1).all()


def test_progress_is_told_now_and_then_with_the_time_left(capsys):
    now = iter([0.0, 1.0, 11.0, 12.0, 300.0])
    progress = Progress("Comparing products by image", 6_000, unit="product", clock=lambda: next(now))
    for _ in range(4):
        progress.advance(1_000)
    assert capsys.readouterr().err.splitlines() == [
        "Comparing products by image: 2000 of 6000 products, 182 a second, 22 s left",
        "Comparing products by image: 4000 of 6000 products, 13 a second, 2 min left",
    ]


def test_votes_and_voices_count_the_label_among_the_nearest():
    nearest = Nearest(
        is_compared=np.ones(1, dtype=bool),
        rows=np.array([[1, 2, -1]]),
        cosines=np.array([[1.0, 1 - 0.07, -2]], np.float32),
        other_label_rows=np.array([2]),
        other_label_cosines=np.array([0.9]),
    )
    targets = np.array([5, 5, 6])
    assert nearest.votes(targets, np.array([5])).tolist() == [1]
    assert nearest.vote_shares(targets, np.array([5])).tolist() == pytest.approx([1 / (1 + np.exp(-1))])


def test_row_is_an_issue_where_another_class_alone_reaches_its_threshold():
    evidence = evidence_of([0, 0, 1, 1])
    out_of_fold = evidence.out_of_fold
    out_of_fold.confident_classes[:] = [0, 1, -1, 0]
    out_of_fold.is_tested[3] = False
    assert is_label_issue(evidence).tolist() == [False, True, False, False]


def test_doubted_labels_come_first_and_the_others_not_at_all():
    """Row 0 has the classes' vectors wrong and the heads against it, row 3 the heads alone."""
    targets = [1, 0, 0, 0, 0, 1, 1, 1]
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [1, 0.15], [0, 1], [0.1, 1], [0.2, 1]])
    evidence = evidence_of(targets, vectors={"text": vectors})
    out_of_fold = evidence.out_of_fold
    out_of_fold.given_probabilities[[0, 3]], out_of_fold.alternative_probabilities[[0, 3]] = 0.1, 0.8
    assert rank_labels(evidence).tolist() == [0, 3]


def test_rows_of_one_vector_and_two_labels_are_one_finding_of_the_less_probable_label():
    vectors = np.random.default_rng(0).standard_normal((8, 6))
    vectors[[4, 5]] = vectors[2]
    evidence = evidence_of([0, 1] * 4, vectors={"image": vectors, "text": vectors}, groups=[0, 1, 2, 3, 4, 2, 6, 7])
    evidence.out_of_fold.given_probabilities[5] = 0.2
    (finding,), count = find_near_copies(evidence, most_findings=9)
    assert count == 1
    assert (finding.row, finding.others, finding.given, finding.suggested) == (5, [2, 4], "class 1", "class 0")
    assert finding.score == pytest.approx(1)


def test_catalogue_without_near_copies_has_none():
    evidence = evidence_of([0, 1, 0, 1], vectors={"text": np.eye(4)})
    assert find_near_copies(evidence, most_findings=9) == ([], 0)


def test_modalities_that_are_both_sure_of_different_classes_disagree():
    sure = np.array([0.9, 0.8, 0.9, 0.3], np.float32)
    image = Opinions(np.array([0, 1, 1, 0]), sure, np.array([0.9, 0.8, 0.1, 0.3], np.float32))
    text = Opinions(np.array([0, 1, 0, 1]), sure, np.array([0.9, 0.8, 0.9, 0.6], np.float32))
    evidence = evidence_of([0, 1, 0, 0], opinions={"image": image, "text": text})
    (finding,), count = find_disagreements(evidence, most_findings=9)
    assert (finding.row, finding.given, finding.suggested, count) == (2, "class 0", "", 1)
    said = "the image says class 1 (0.90), the text says class 0 (0.90)"
    assert finding.words == f"{said}; the label agrees with the text: look at the image."


def test_disagreement_shows_the_nearest_of_each_modality():
    targets = [0, 1, 0, 1, 0, 1]
    classes = np.array(targets)
    image = Opinions(classes, np.full(6, 0.9, np.float32), np.full(6, 0.9, np.float32))
    text = Opinions(np.array([1, *targets[1:]]), image.confidences, image.given_probabilities)
    vectors = {name: class_vectors(classes, 3, seed=seed) for seed, name in enumerate(("image", "text"))}
    evidence = evidence_of(targets, vectors=vectors, opinions={"image": image, "text": text})
    (finding,), _ = find_disagreements(evidence, most_findings=9)
    assert {name: votes.nearest for name, votes in finding.votes.items()} == {
        name: evidence.nearest[name].rows[0].tolist() for name in ("image", "text")
    }
    assert finding.suggested == ""
    assert {votes.n_suggested for votes in finding.votes.values()} == {None}


def test_row_far_from_all_others_of_its_class_is_an_outlier():
    generator = np.random.default_rng(0)
    vectors = np.concatenate([[[-9.0, 0, 0]], [[9, 9, 0]] + 0.1 * generator.standard_normal((20, 3))])
    evidence = evidence_of([0] * 21, vectors={"text": vectors})
    findings, count = find_outliers(evidence, most_findings=9)
    assert findings[0].row == 0
    assert count == len(findings)


def far_from_nearest(targets, distances, groups=None):
    """Return the evidence on rows that are so far from their nearest."""
    evidence = evidence_of(targets, groups=groups)
    n_rows = len(targets)
    nearest = Nearest(
        is_compared=np.ones(n_rows, dtype=bool),
        rows=(np.arange(n_rows)[:, None] + 1) % n_rows,
        cosines=1 - np.array(distances, np.float32)[:, None],
        other_label_rows=np.full(n_rows, -1),
        other_label_cosines=np.zeros(n_rows, np.float32),
    )
    return replace(evidence, nearest={"image": nearest})


def test_small_classes_have_no_outliers_by_chance_and_planted_ones_are_told():
    """Normal distances in 300 classes of 6 to 19, of which four are 5 deviations apart by their own few rows alone."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(6, 20, size=300)
    targets = np.repeat(np.arange(300), sizes)
    distances = generator.normal(0.5, 0.03, size=len(targets))
    assert find_outliers(far_from_nearest(targets, distances), most_findings=9) == ([], 0)
    planted = np.cumsum(sizes)[:3] - 1
    distances[planted] = 0.5 + 12 * 0.03
    findings, count = find_outliers(far_from_nearest(targets, distances), most_findings=9)
    assert count == 3
    assert {one.row for one in findings} == set(planted.tolist())


def test_class_of_copies_has_no_outliers_beside_them():
    """Twenty of thirty rows are one product, whose distance says nothing of how distances vary."""
    distances = [0.5] * 20 + np.random.default_rng(0).normal(0.6, 0.05, size=10).tolist()
    many = np.random.default_rng(1).normal(0.5, 0.05, size=60).tolist()
    evidence = far_from_nearest([0] * 30 + [1] * 60, distances + many, groups=[0] * 20 + list(range(1, 71)))
    assert find_outliers(evidence, most_findings=9) == ([], 0)


def test_of_a_class_of_five_no_outliers_are_claimed_and_a_note_says_so():
    evidence = far_from_nearest([0] * 5 + [1] * 20, [0.1] * 4 + [0.9] + [0.5, 0.6] * 10)
    assert find_outliers(evidence, most_findings=9) == ([], 0)
    (note,) = too_small_notes(evidence)
    assert note == "Outliers are not looked for in 1 class of fewer than 6 different products: class 0."


def test_too_small_is_said_of_the_modality_of_which_a_class_has_too_few():
    evidence = far_from_nearest([0] * 10 + [1] * 20, [0.5] * 30)
    (text,) = evidence.nearest.values()
    rows = text.rows.copy()
    rows[:5] = -1  # have no picture
    both = replace(evidence, nearest={"image": replace(text, rows=rows), "text": text})
    (note,) = too_small_notes(both)
    assert note == "Outliers by image are not looked for in 1 class of fewer than 6 different products: class 0."


def test_classes_taken_for_each_other_both_ways_want_merging():
    targets = [0] * 10 + [1] * 10 + [2] * 10
    evidence = evidence_of(targets)
    said = evidence.out_of_fold.confident_classes
    said[:3], said[10:14], said[20:29] = 1, 0, 0  # class 2 goes one way alone
    (finding,), count = find_class_pairs(evidence, most_findings=9)
    assert (finding.given, finding.suggested, count) == ("class 0", "class 1", 1)
    assert finding.score == pytest.approx(0.3)
    assert finding.others == [0, 1, 2, 10, 11, 12]


def test_class_of_two_clusters_wants_splitting_and_one_cluster_does_not():
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((240, 8))
    vectors[:60, 0] += 12  # half of class 0
    evidence = evidence_of([0] * 120 + [1] * 120, vectors={"image": vectors})
    (finding,), _ = find_class_halves(evidence, most_findings=9)
    assert finding.given == "class 0"
    assert {row < 60 for row in finding.others[:3]} != {row < 60 for row in finding.others[3:]}


def test_class_of_one_vector_is_not_split_and_warns_nobody():
    vectors = {"image": np.tile(np.float32([1.0, -2.0, 0.5]), (80, 1))}
    evidence = evidence_of(np.zeros(80, dtype=np.int64), vectors=vectors)
    assert find_class_halves(evidence, most_findings=9) == ([], 0)


def test_distance_of_two_samples_is_in_their_deviations():
    values = np.array([-1, 1, 9, 11.0])
    assert ashman_d(values, np.array([False, False, True, True])) == pytest.approx(np.sqrt(2) * 10 / np.sqrt(2))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A hundred products of two classes: four with the other's label, one with none, one whose title is a script."""
    folder = tmp_path_factory.mktemp("shop")
    targets = np.arange(100) % 2
    labels = [f"class {code ^ (row in (10, 21, 32, 43))}" for row, code in enumerate(targets.tolist())]
    labels[99] = ""
    vectors = {"image": class_vectors(targets, 4, spread=0.5), "text": class_vectors(targets, 6, spread=0.5, seed=1)}
    titles = [HOSTILE if row == 21 else f"thing {row}" for row in range(100)]
    synthetic_cache(folder / "c.h5", vectors, {"label": labels, "title": titles, "image": ["a.png"] * 100})
    (folder / "a.png").write_bytes(image_bytes())
    return folder


@pytest.fixture(scope="module")
def audited(shop):
    result = invoke(audit, shop / "c.h5", "--runs", shop / "runs", "--folds", 2, "--precision", "fp32", "--most", 6)
    assert result.exit_code == 0, result.stderr
    return result, shop / "runs" / "label-audit-001"


def lines_of(run):
    with (run / "findings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_planted_wrong_labels_are_the_first(audited):
    done, run = audited
    assert {line["product"] for line in lines_of(run)[:4]} == {"00010", "00021", "00032", "00043"}
    assert {line["suggested"] for line in lines_of(run)[:4] if line["given"] == "class 1"} == {"class 0"}
    assert re.search(r"About [3-6] labels \([3-6]\.[01] %\) look wrong to heads that answer", done.stdout)
    assert str(run / "findings.csv") in done.stdout


@pytest.mark.slow
def test_products_that_are_left_out_are_counted_with_the_reason(audited):
    told = "label: 2 classes; 99 of 100 products audited; left out: 1 without a label"
    assert f"{told}\n" in audited[0].stdout
    page = (audited[1] / "report.html").read_text(encoding="utf-8")
    assert "99 of 100 products audited; left out: 1 without a label" in " ".join(page.replace("&#8239;", "").split())


@pytest.mark.slow
def test_findings_change_nothing_until_somebody_writes_a_label(audited, tmp_path):
    path = audited[1] / "findings.csv"
    assert read_corrections(path).labels == {}
    header, first, *rest = path.read_text().splitlines()
    product = lines_of(audited[1])[0]["product"]
    (tmp_path / "edited.csv").write_text("\n".join([header, first.replace(",,", ",mug,", 1), *rest]))
    assert read_corrections(tmp_path / "edited.csv").labels == {product: "mug"}


@pytest.mark.slow
def test_findings_hold_the_labels_that_were_corrected_before(audited, shop, tmp_path):
    """Whoever edits the last file gives back all corrections, not those of the last round alone."""
    (tmp_path / "first.csv").write_text("product,label\n00010,class 0\n00021,class 0\n")
    options = ["--folds", 2, "--precision", "fp32", "--most", 6, "--no-report"]
    result = invoke(
        audit, shop / "c.h5", "--runs", tmp_path, "--corrections", tmp_path / "first.csv", "--name", "second", *options
    )
    assert result.exit_code == 0, result.stderr
    assert read_corrections(tmp_path / "second/findings.csv").labels == {"00010": "class 0", "00021": "class 0"}
    assert [line["finding"] for line in lines_of(tmp_path / "second")[-2:]] == ["corrected", "corrected"]


@pytest.mark.slow
def test_page_shows_pictures_and_runs_nothing_of_the_catalogue_s(audited):
    page = (audited[1] / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert html.escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert "data:image/jpeg;base64," in page
    assert page.count("nearest texts</figcaption>") >= 4  # with their titles
    assert re.search(r'<span class="words quiet" dir="auto">thing \d+</span>', page)
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.slow
def test_folder_says_how_it_came_about_and_a_second_audit_leaves_it(audited, shop):
    run = audited[1]
    assert {path.name for path in run.iterdir()} == {"audit.json", "findings.csv", "report.html"}
    assert json.loads((run / "audit.json").read_text())["counts"]["placeholder"] == 0
    again = invoke(audit, shop / "c.h5", "--runs", shop / "runs", "--name", run.name)
    assert again.exit_code == 1
    assert "exists" in again.stderr


@pytest.mark.slow
def test_catalogue_of_one_modality_is_audited_and_told_as_json(shop):
    result = invoke(
        audit, shop / "c.h5", "--modalities", "text", "--runs", shop / "text", "--folds", 2, "--json", "--most", 4
    )
    assert result.exit_code == 0, result.stderr
    output = json.loads(result.stdout)
    assert {one["product"] for one in output["findings"] if one["kind"] == "label"} == {
        "00010",
        "00021",
        "00032",
        "00043",
    }
    assert list(output["encoders"]) == ["text"]
    assert output["counts"]["disagreement"] == 0
