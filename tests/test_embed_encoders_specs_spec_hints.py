"""A catalogue without news is answered by hints of what the encoders' specs are; nothing else ever is."""

import os
import sys
import time
from pathlib import Path

import fork_server
import pytest
import tiny_models
from house import HEAVY, modules_after
from support import ROOT, image_bytes, small_catalogue

import cache.system.file_identity
from cache import Cache, SpecConflictError
from embed import ExtractSettings, extract
from embed.encoders import factory
from embed.encoders.specs.spec_hints import NamedEncoder, SpecHints
from embed.errors import EncoderError


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let files count as settled at once."""
    monkeypatch.setattr(cache.system.file_identity, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(cache.system.file_identity, "COARSE_SETTLED_NS", -(10**12))


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return tiny_models.write_vision(tmp_path_factory.mktemp("models") / "vit", "vit")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_catalogue(tmp_path / "shop")


@pytest.fixture
def n_made(monkeypatch):
    """How often encoders were made."""
    made = []
    build = factory._build
    monkeypatch.setattr(factory, "_build", lambda *arguments: made.append(arguments) or build(*arguments))
    return lambda: len(made)


def settings_of(model, **others):
    return ExtractSettings(modalities=("image",), image_encoder=str(model), device="cpu", **others)


def test_an_unchanged_catalogue_makes_no_encoder(shop, vit, n_made):
    assert extract(shop, settings=settings_of(vit)).was_written
    assert n_made() == 1
    report = extract(shop, settings=settings_of(vit))
    assert (report.was_written, report.encoders[0].n_cached, n_made()) == (False, 6, 1)


def test_a_new_picture_is_encoded_by_the_encoder_that_was_named(shop, vit, n_made):
    extract(shop, settings=settings_of(vit))
    (shop.parent / "images" / "3.png").write_bytes(image_bytes("lime"))
    report = extract(shop, settings=settings_of(vit))
    assert (report.encoders[0].n_encoded, n_made()) == (1, 2)
    with Cache("embeddings.h5") as cache:
        assert cache.encoders("image") == ["vit"]


def test_several_encoders_are_all_recalled(shop, vit, tmp_path, n_made):
    other = tiny_models.write_vision(tmp_path / "other", "vit", seed=1)
    settings = settings_of(f"{vit},{other}", layers=2)
    names = [one.name for one in extract(shop, settings=settings).encoders]
    assert len(names) == 4
    assert [one.name for one in extract(shop, settings=settings).encoders] == names
    assert n_made() == 2


@pytest.mark.parametrize("change", ["weights", "a file more", "a variable", "a setting", "another folder"])
def test_encoders_are_made_where_anything_differs(change, shop, vit, tmp_path, n_made, monkeypatch):
    model = tiny_models.write_vision(tmp_path / "model", "vit")
    extract(shop, settings=settings_of(model))
    settings = settings_of(model)
    if change == "weights":
        tiny_models.write_vision(tmp_path / "model", "vit", seed=1)
        with pytest.raises(SpecConflictError, match="weights"):
            extract(shop, settings=settings)
    else:
        if change == "a file more":
            (model / "notes.txt").touch()
        elif change == "a variable":
            monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        elif change == "a setting":
            settings = settings_of(model, seed=1)
        else:
            monkeypatch.chdir(shop.parent)
        assert not extract(shop, tmp_path / "embeddings.h5", settings=settings).was_written
    assert n_made() == 2


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_lies_here_under_a_published_name_hides_no_weights(what, tmp_path, monkeypatch):
    """torchvision's name is torchvision's whatever lies here, and a file is no folder of the hub."""
    monkeypatch.chdir(tmp_path)
    weights = {"resnet18": tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"}
    weights["bert-base-uncased"] = tmp_path / "hub" / "models--bert-base-uncased" / "snapshots" / "a" / "config.json"
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, path in weights.items():
        path.parent.mkdir(parents=True)
        path.write_text("weights")
        here = tmp_path / name
        here.mkdir() if what == "folder" else here.touch()
        if what == "folder":
            (here / "report.html").touch()
    hints = SpecHints(tmp_path / "c.h5", ExtractSettings(), folder=tmp_path)
    for path in weights.values():
        path.write_text("other weights")
        changed = SpecHints(tmp_path / "c.h5", ExtractSettings(), folder=tmp_path)
        assert changed._circumstances not in (b"", hints._circumstances)
        hints = changed


def test_settings_that_change_no_spec_make_no_encoder(shop, vit, n_made):
    extract(shop, settings=settings_of(vit))
    extract(shop, settings=settings_of(vit, max_bad="1%", where="id < 3", n_workers=1, memory="64M"))
    assert n_made() == 1


def test_encoders_are_made_with_rehash(shop, vit, n_made):
    for _ in range(3):
        extract(shop, settings=settings_of(vit, rehash=True))
    assert n_made() == 3


def test_a_model_of_the_hub_is_recalled_until_another_snapshot_is_there(shop, vit, tmp_path, n_made, monkeypatch):
    folder = tmp_path / "hub" / "models--shop--vit"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder.parent))
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda _, **__: str(folder / "snapshots" / (folder / "refs" / "main").read_text()),
    )
    settings = settings_of("shop/vit")
    for seed, n_before in ((0, 0), (1, 1)):
        tiny_models.write_vision(folder / "snapshots" / f"a{seed}", "vit", seed=seed)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(f"a{seed}")
        for _ in range(2):
            extract(shop, f"{seed}.h5", settings=settings)
        assert n_made() == n_before + 1
    with pytest.raises(SpecConflictError, match="weights"):  # as without hints: the name means other weights now
        extract(shop, "0.h5", settings=settings)


def test_nothing_is_recalled_of_a_model_whose_files_are_nowhere(shop, vit, n_made, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "nowhere")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _, **__: str(vit))
    for _ in range(2):
        extract(shop, settings=settings_of("shop/vit"))
    assert n_made() == 2


def test_a_folder_that_cannot_be_listed_is_told_by_who_makes_the_encoder(shop, vit, n_made, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        for _ in range(2):
            extract(shop, settings=settings_of(vit))
    assert n_made() == 2


def test_encoders_are_made_for_another_cache(shop, vit, n_made):
    extract(shop, settings=settings_of(vit))
    Path("embeddings.h5.specs").rename("other.h5.specs")
    assert extract(shop, "other.h5", settings=settings_of(vit)).was_written
    assert n_made() == 2


def test_a_hint_that_lies_is_found_when_something_is_encoded(shop, vit, tmp_path, monkeypatch):
    extract(shop, settings=settings_of(vit))
    other = tiny_models.write_vision(tmp_path / "other" / "vit", "vit", seed=1)
    monkeypatch.setattr(
        SpecHints, "recall", lambda _, specs: [NamedEncoder(name, spec) for (_, name), spec in specs.items()]
    )
    (shop.parent / "images" / "3.png").write_bytes(image_bytes("lime"))
    with pytest.raises(EncoderError, match=r"Expected the encoders to be as .*embeddings.h5.specs says, but .*weights"):
        extract(shop, settings=settings_of(other))
    assert not Path("embeddings.h5.specs").exists()


def test_a_damaged_file_of_hints_is_written_anew(shop, vit, n_made, caplog):
    extract(shop, settings=settings_of(vit))
    Path("embeddings.h5.specs").write_bytes(b"embed-once hints 2".ljust(32, b"\0") + bytes(80))
    extract(shop, settings=settings_of(vit))
    assert "embeddings.h5.specs is damaged or of another version: encoders are made" in caplog.text
    extract(shop, settings=settings_of(vit))
    assert n_made() == 2


@pytest.mark.slow
def test_the_command_imports_no_library_of_encoders_for_a_catalogue_without_news(shop, vit, tmp_path, monkeypatch):
    """The encoders were made by another process, with this one's variables."""
    monkeypatch.undo()
    time.sleep(2 * cache.system.file_identity.SETTLED_NS / 1e9)
    arguments = ("embed-extract", shop, "-o", "c.h5", "--modalities", "image", "--image-encoder", vit)
    first = [sys.executable, ROOT / "bin" / arguments[0], *arguments[1:]]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert fork_server.run(first, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    done, modules = modules_after(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    assert not modules & (HEAVY | {"pandas"})
