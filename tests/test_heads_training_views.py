"""A training row shows one of its picture's views, drawn anew; what judges a head shows the picture as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_jobs import CPU, make_member, small_job, small_task
from support import image_bytes, write_catalogue
from test_embed_encoders_pictures_views import Pixels, views_of

from cache import Cache
from embed import ExtractSettings, extract
from heads import HeadError, Run, TrainSettings, train
from heads.ablation.ablation_settings import AblationSettings
from heads.data.encoder_sets import one_encoder
from heads.experiment.problem import pose
from heads.training.batch_loader import draw_epoch, validation_blocks
from heads.training.scheduler import fit, fit_jobs

pytestmark = pytest.mark.slow

SETTINGS = TrainSettings(fusions=(), controls=(), views=True, max_epochs=1, hidden_dim=8, n_resamples=100, device="cpu")


def augmented_task(**options):
    """Return a task whose pictures have two views, each of which its first number tells, and the row its second."""
    task = small_task(absent=0.0, **options)
    pictures = task.inputs["image"]
    pictures[:, 1] = torch.arange(len(pictures))
    views = []
    for number in range(3):
        view = pictures.clone()
        view[:, 0] = number
        views.append(view)
    return replace(task, inputs=task.inputs | {"image": views[0]}, augmented={"image": views[1:]})


def test_each_row_shows_one_of_its_views_and_they_are_drawn_anew():
    task = augmented_task()
    member = make_member(small_job("early", task))
    shown = []
    for _ in range(2):
        pictures = torch.cat([batch.arguments[0]["image"][0] for batch in draw_epoch([member])])
        texts = torch.cat([batch.arguments[0]["text"][0] for batch in draw_epoch([make_member(member.job)])])
        assert len(texts) == len(pictures)
        order = pictures[:, 1].argsort()
        assert set(pictures[:, 1].int().tolist()) <= set(task.split.train.tolist())
        for picture in pictures:
            version, row = picture[:2].int().tolist()
            np.testing.assert_array_equal(picture, [task.inputs["image"], *task.augmented["image"]][version][row])
        assert set(pictures[:, 0].int().tolist()) == {0, 1, 2}
        shown.append(pictures[order][:, 0])
    assert not torch.equal(*shown)


def test_texts_and_validation_rows_show_what_they_are():
    task = augmented_task()
    member = make_member(small_job("early", task))
    for batch in draw_epoch([member]):
        rows = batch.arguments[0]["image"][0, :, 1].long()
        assert torch.equal(batch.arguments[0]["text"][0], task.inputs["text"][rows])
        assert torch.equal(batch.targets[0], task.targets[rows])
    for batch in validation_blocks([member]):
        pictures = batch.arguments[0]["image"][0]
        assert set(pictures[:, 0].tolist()) == {0.0}


def test_a_head_in_a_stack_sees_what_it_sees_alone():
    task = augmented_task()
    jobs = [small_job("early", one, seed=seed) for one in (task, replace(task, augmented={})) for seed in (0, 1)]
    together = dict(fit_jobs(jobs, device=CPU, dtype=torch.float32))
    for place, job in enumerate(jobs):
        for mine, alone in zip(together[place].history, fit(job).history, strict=True):
            assert mine == pytest.approx(alone, rel=1e-5)  # a stack adds up in another order on some processors
    assert together[0].history != together[2].history


def test_a_head_that_looks_at_no_pictures_is_what_it_is_without_views():
    task = augmented_task()
    assert fit(small_job("text", task)).history == fit(small_job("text", replace(task, augmented={}))).history


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A cache of pictures whose colour is the label, with two views of each."""
    folder = tmp_path_factory.mktemp("shop")
    pictures = {f"{n}.png": image_bytes((200 * (n % 2), n, 50), size=(30, 40)) for n in range(60)}
    rows = [{"id": name, "image": name, "label": "red" if n % 2 else "blue"} for n, name in enumerate(pictures)]
    catalogue = write_catalogue(folder, rows, pictures)
    settings = ExtractSettings(modalities=("image",), n_workers=1)
    for path, encoders in (
        ("plain", [Pixels()]),
        ("views", views_of(Pixels())),
        ("others", [Pixels(), renamed(Pixels("other"), "net.view1")]),
    ):
        extract(catalogue, folder / f"{path}.h5", settings=settings, encoders=encoders)
    return folder


def renamed(encoder, name):
    encoder.name = name
    return encoder


def test_a_training_with_views_says_so_and_its_head_is_the_plain_encoders(shop):
    report = train(shop / "views.h5", settings=SETTINGS, runs_path=shop / "runs", name="run")
    assert report.encoders == {"image": "net"}
    assert any(note.startswith("Training rows show one of 3 views of image/net") for note in report.notes)
    assert Run.load(shop / "runs/run", device="cpu").heads["image"].specs == {"image": Pixels().spec}


@pytest.mark.parametrize(
    ("cache", "options", "message"),
    [
        ("plain", {}, "--views: expected views of image/net in .*, got none. Run embed-extract --views 4"),
        ("others", {"encoders": {"image": "net"}}, "expected image/net.view1 to be a view of image/net, got another"),
        ("views", {"encoders": {"image": "net+net.view1"}}, "expected heads to look at one image encoder"),
        ("views", {"memory": "1K"}, "Expected all vectors in memory for --views"),
    ],
)
def test_views_that_are_not_there_are_a_named_error(shop, cache, options, message):
    with pytest.raises(HeadError, match=message):
        train(shop / f"{cache}.h5", settings=replace(SETTINGS, **options), runs_path=shop / "runs", name="none")


def test_who_names_no_encoder_means_no_view(shop):
    with Cache(shop / "views.h5") as cache:
        assert one_encoder(cache, "image", None) == "net"
        assert one_encoder(cache, "image", "net.view1") == "net.view1"
        settings = AblationSettings(fusions=(), n_folds=2)
        assert pose(cache, settings).encoders == {"image": ["net"]}
