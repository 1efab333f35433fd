"""What a model card says of preparing pictures and texts is what Hugging Face's encoders are given, and no more."""

import json
import re
import shlex
import zipfile

import numpy as np
import pytest
import torch
import transformers
from support import ROOT, image_bytes, invoke, small_catalogue
from tiny_models import write_two_towers, write_vision

import heads
from embed import TextEncoder, VisionEncoder
from embed.commands.extract import extract
from heads.commands.export import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[("vit", "chinese_clip"), ("dinov2", "siglip")], ids="-".join)
def exported(request, tmp_path_factory):
    """A head with both its encoders, in a folder; and the folders that these came from."""
    root = tmp_path_factory.mktemp("private")
    vision, text = request.param
    folders = write_vision(root / "seeing", vision), write_two_towers(root / "reading", text)
    options = "--device cpu --max-length 6 --modalities image,text"
    line = ["--image-encoder", folders[0], "--text-encoder", folders[1], *shlex.split(options)]
    done = invoke(extract, small_catalogue(root / "shop", 40), "-o", root / "c.h5", *line)
    assert done.exit_code == 0, done.output
    settings = heads.TrainSettings(
        fusions=("early",), hidden_dim=8, max_epochs=1, n_resamples=100, device="cpu", min_rows=2
    )
    run_path = heads.train(root / "c.h5", settings=settings, runs_path=root / "runs").run_path
    done = invoke(export, run_path, "--head", "early", "--with-encoder", "all", "--format", "pt2")
    assert done.exit_code == 0, done.output
    return run_path / "export" / "early", *folders


def test_code_of_the_card_makes_what_the_encoders_are_given(exported, tmp_path):
    folder, image_folder, text_folder = exported
    card = (folder / "README.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        if "\ndef " in block:
            exec(compile(block, "README.md", "exec"), scope)  # noqa: S102 - our own card
    rows = []
    for size in ((90, 40), (30, 70)):
        (tmp_path / "a.png").write_bytes(image_bytes((9, 90, 200), size=size))
        rows.append(scope["image_pixels"](tmp_path / "a.png"))
        prepared = VisionEncoder(str(image_folder)).prepare((tmp_path / "a.png").read_bytes())
        np.testing.assert_array_equal(rows[-1], prepared["pixel_values"].numpy())
    encoder = TextEncoder(str(text_folder), max_length=6)
    texts = ["product  number 1", "a"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_folder)
    answer = scope["text_ids"](texts, tokenizer)
    has_mask = isinstance(answer, tuple)
    ids, mask = answer if has_mask else (answer, np.ones(answer.shape, bool))
    assert [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)] == [
        encoder.prepare(" ".join(text.split())) for text in texts
    ]
    inputs = {"image_pixels": np.stack(rows), "text_ids": ids} | ({"text_mask": mask} if has_mask else {})
    inputs |= {f"{name}_present": np.ones(2, bool) for name in ("image", "text")}
    program = torch.export.load(folder / "model.pt2").module()
    probabilities, _ = program(inputs={name: torch.as_tensor(values) for name, values in inputs.items()})
    assert probabilities.shape == (2, 2)


def test_exported_files_name_no_folder_of_this_machine(exported):
    """Neither where weights lie, nor where the code that was traced does."""
    folder, image_folder, _ = exported
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    with zipfile.ZipFile(folder / "model.pt2") as parts:
        contents |= {name: parts.read(name) for name in parts.namelist()}
    private = [str(image_folder.parent), str(ROOT), transformers.__file__.partition("/transformers/")[0]]
    assert {name: path for name, content in contents.items() for path in private if path.encode() in content} == {}
    facts = {"specs": ""}
    torch.export.load(folder / "model.pt2", extra_files=facts)
    specs = json.loads(facts["specs"])
    assert specs["image"]["side_notes"]["settings"]["image_encoder"] == "seeing"
    assert specs["image"]["weights"].startswith("sha256:")
