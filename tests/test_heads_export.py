"""What is exported answers as PyTorch does, whatever a row lacks, and what does not is not kept."""

import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from support import ROOT, class_vectors, image_bytes, invoke, synthetic_cache
from tiny_models import TEXT, write_two_towers, write_vision
from torch import nn

import heads
from cache import ContentSpec, EncoderSpec
from embed.encoders.huggingface_image import VisionEncoder
from embed.encoders.huggingface_text import TextEncoder
from embed.encoders.pictures.decode_gate import DecodeGate
from embed.encoders.pictures.preprocess import Preprocess
from embed.encoders.torchvision_image import ImageEncoder
from heads.commands.export import export
from heads.errors import ExportError, HeadError, RunError, SettingError
from heads.export import formats, int8
from heads.export.check import check_answers
from heads.export.formats import FORMATS, Format
from heads.export.graph import HeadGraph, trace
from heads.export.networks import network_of
from heads.export.probe_rows import BATCHES, drawn_rows, golden_rows, subset_rows
from heads.modules.parts.layers import Linear
from heads.modules.parts.token_layers import MultiHeadAttention
from heads.modules.registry import build
from heads.modules.selection import Selected
from heads.runs.folder import load_heads

pytestmark = pytest.mark.slow

N_ROWS, SIDE = 90, 32
FUSIONS = (
    "attention", "gated", "late", "lowrank", "logistic", "residual", "neighbours", "centroids", "majority"
)  # fmt: skip


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertConfig(**{**TEXT, "num_hidden_layers": 1, "vocab_size": 300}).save_pretrained(folder)
    return TextEncoder(str(folder), weights="random", max_length=12, pooling="mean")


@pytest.fixture(scope="module")
def image_encoder():
    """An encoder of pictures of 32 pixels, of one convolution."""
    from torchvision.transforms._presets import ImageClassification

    encoder = ImageEncoder("resnet18", weights="random")
    encoder.preprocess = Preprocess(ImageClassification(crop_size=SIDE, resize_size=SIDE + 4))
    encoder.gate = DecodeGate("exact", encoder.preprocess, name="small")
    encoder.spec = EncoderSpec("image", encoder._spec_fields(None))
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 512)
    vars(encoder)["model"] = nn.Sequential(*layers).eval()
    return encoder


@pytest.fixture(scope="module")
def run_path(tmp_path_factory, text_encoder):
    """A run of all kinds of heads; some rows lack a modality, and titles are texts that the text encoder encoded."""
    folder = tmp_path_factory.mktemp("export")
    codes, row = np.arange(N_ROWS) % 3, np.arange(N_ROWS)
    titles = [f"{('shirt', 'bag', 'shoe')[code]} number {n}" for n, code in enumerate(codes)]
    generator = np.random.default_rng(0)
    cache = synthetic_cache(
        folder / "c.h5",
        {
            "image": class_vectors(codes, 512, spread=4),
            "text": text_encoder.encode([text_encoder.prepare(title) for title in titles]),
        },
        {"label": [f"class {code}" for code in codes], "title": titles},
        present={"image": row % 8 != 3, "text": row % 8 != 5},
        contents={"image": [f"picture {n}" for n in row], "text": titles},
        tokens={"text": [generator.standard_normal((1 + n % 4, 4)) for n in row]},
        made_of={"text": ContentSpec("text", {"columns": ["title"]})},
    )
    settings = heads.TrainSettings(
        fusions=FUSIONS, guard=True, hidden_dim=16, max_epochs=2, n_resamples=100, device="cpu", min_rows=2
    )
    return heads.train(cache, settings=settings, runs_path=folder / "runs").run_path


@pytest.fixture(scope="module")
def trained(run_path):
    return load_heads(run_path)


class Given(nn.Module):
    """Stand where a head standardises what is standardised already."""

    def forward(self, inputs, _present):
        return inputs


class Together(nn.Module):
    """Several heads as one graph, whose answers are (B, heads, K): each step of a graph takes milliseconds to be made.

    The first standardises for the others, whose expected answers are of their own standardisation.
    """

    def __init__(self, several):
        super().__init__()
        self.first, *others = (HeadGraph(head) for head in several)
        self.others = nn.ModuleList(others)
        for graph in others:
            graph.standardise = Given()
        self.description = several[0].description
        self.inputs = self.first.inputs  # the first sees all that any sees

    def forward(self, inputs):
        present = {name: inputs[f"{name}_present"] for name in self.description.dims}
        given = inputs | self.first.standardise(self.first.vectors(inputs), present)
        logs = torch.stack([self.first(inputs)[1], *(graph(given)[1] for graph in self.others)], dim=1)
        return logs.exp(), logs


class Masked(nn.Module):
    """Attention between the modalities of a row and nothing else: where it has none, no key is left."""

    def __init__(self, dims, n_classes):
        super().__init__()
        self.embed = nn.ModuleDict({name: Linear(dims[name], 8) for name in dims})
        self.attention, self.classifier = MultiHeadAttention(8, 2), Linear(8, n_classes)

    def forward(self, inputs, present):
        tokens = torch.stack([self.embed[name](inputs[name]) for name in self.embed], dim=1)  # (B, M, 8)
        is_key = torch.stack([present[name] for name in self.embed], dim=1)
        return self.classifier(self.attention(tokens, tokens, is_key).sum(1))


def code_of(card):
    """Return the Python in a model card."""
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def odd_pictures():
    """Yield files of pictures, lying and upright, that are not plain RGB."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 77, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb, grey = Image.fromarray(noise[..., :3]), noise[..., 0].astype(np.uint16) * 200
    for picture, options in (
        (rgb, {"format": "JPEG", "exif": exif}),
        (rgb.convert("CMYK"), {"format": "JPEG"}),
        (Image.fromarray(noise), {"format": "PNG"}),
        (rgb.quantize(8), {"format": "PNG", "transparency": 3}),
        (Image.fromarray(grey), {"format": "PNG"}),
        (rgb.convert("L").transpose(Image.Transpose.ROTATE_90), {"format": "PNG"}),
    ):
        file = io.BytesIO()
        picture.save(file, **options)
        yield file.getvalue()


def with_module(head, module, **description):
    changed = dataclasses.replace(head.description, token_dims={}, **description)
    part = head.standardise.part(changed.dims)
    return dataclasses.replace(head, description=changed, module=module.eval(), standardise=part)


def test_every_kind_of_head_answers_in_onnx_as_in_pytorch(trained, tmp_path):
    """Every subset of modalities, rows without any, batches of 1, 2 and 7; a row that has no key among them.

    The stack stands in the residual head, which has most of the say in the ensemble, whose average is late fusion's.
    Gated and low-rank fusion as they are usually trained are the graphs of the encoders' tests.
    """
    names = ["attention", "logistic", "neighbours", "centroids", "majority"]
    several = [trained[name] for name in names]
    dims = several[0].description.dims
    learned = build(dataclasses.replace(trained["lowrank"].description, absent="learned"))
    for vector in learned.vectors.values():
        nn.init.normal_(vector)
    several += [with_module(several[0], learned, name="lowrank", absent="learned")]
    several += [with_module(several[0], Masked(dims, 3), name="masked")]
    weights = {"image": 0.0, "text": 0.3, "residual": 0.7}
    ensemble = Selected({name: trained[name].module for name in weights}, weights=weights)
    several += [with_module(several[0], ensemble, name="ensemble", weights=weights)]
    rows = drawn_rows(several[0])
    inputs = {name: rows.inputs[name] for name in dims}
    present = {name: rows.inputs[f"{name}_present"] for name in dims}
    expected = [rows.expected, *(head.log_probabilities(inputs, present) for head in several[1:])]
    program = trace(Together(several))
    code = FORMATS["onnx"].code()
    code.write(program, tmp_path / "heads.onnx", {})
    answer = code.load_answer(tmp_path / "heads.onnx")
    for place, (head, logs) in enumerate(zip(several, expected, strict=True)):
        assert logs.isfinite().all(), head.name
        one = dataclasses.replace(rows, expected=logs)
        agreement = check_answers(lambda taken, n=place: tuple(part[:, n] for part in answer(taken)), [one])
        assert agreement.largest < 1e-5, head.name
        assert agreement.n_batches == len(BATCHES) * 5  # four subsets, and rows of all of them


def test_probe_has_every_subset_and_mixed_batches():
    present, batches = subset_rows(["image", "text"])
    rows = torch.stack([present["image"], present["text"]], dim=1)
    kinds = [{tuple(row) for row in rows[batch].tolist()} for batch in batches]
    assert {len(batch) for batch in batches} == {1, 2, 7}
    assert all({kind} in kinds for kind in [(True, True), (True, False), (False, True), (False, False)])
    assert {(True, True), (True, False), (False, True), (False, False)} in kinds


def test_golden_rows_are_those_that_were_saved(trained, run_path):
    head = trained["lowrank"]
    rows = golden_rows(head, run_path / "lowrank")
    agreement = check_answers(HeadGraph(head).eval(), [rows])
    assert agreement.n_answers == 8
    assert agreement.largest < 1e-6
    assert not torch.stack([rows.inputs["image_present"], rows.inputs["text_present"]]).all()


@pytest.fixture(scope="module")
def exported(run_path, text_encoder, tmp_path_factory):
    """A head with its text encoder, in both formats and in int8."""
    settings = heads.ExportSettings(formats=("onnx", "pt2"), with_encoders=("text",), int8=True, max_loss=100)
    folder = tmp_path_factory.mktemp("exported") / "out"
    encoders = {"text": text_encoder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "TIMED_S", 0.02)  # no test looks at how fast
        return heads.export_head(run_path, head="gated", settings=settings, output=folder, encoders=encoders)


def test_text_encoder_and_head_are_one_graph(exported):
    assert [str(one) for one in exported.inputs] == [
        "image float32 (batch, 512)",
        "image_present bool (batch)",
        "text_ids int64 (batch, length)",
        "text_mask bool (batch, length)",
        "text_present bool (batch)",
    ]
    assert exported.cosines["text"] > 0.9999
    assert all(agreement.largest < 1e-5 for agreement in exported.agreements.values())
    assert {path.name: path.stat().st_size for path in exported.folder.iterdir()} == exported.files


def test_onnx_file_says_what_it_is(exported, trained):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.folder / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == trained["gated"].classes
    assert (about["label"], about["head"]) == ("label", "gated")
    fingerprints = {name: spec.fingerprint for name, spec in trained["gated"].specs.items()}
    assert json.loads(about["fingerprints"]) == fingerprints
    assert [one.shape[0] for one in session.get_inputs()] == ["batch"] * 5


def test_exported_files_name_no_folder_of_the_code_that_was_traced(exported):
    contents = {path.name: path.read_bytes() for path in exported.folder.iterdir()}
    private = [str(ROOT), torch.__file__.partition("/torch/")[0]]
    assert {name: path for name, content in contents.items() for path in private if path.encode() in content} == {}


def test_int8_is_smaller_and_measured_on_the_validation_rows(exported, run_path, trained):
    found = exported.int8
    assert found.n_bytes_int8 < 0.8 * found.n_bytes
    config = json.loads((run_path / "config.json").read_text())
    assert found.n_rows == len(config["split"]["validation"])
    scored = json.loads((run_path / "metrics.json").read_text())["heads"]["gated"]
    assert found.accuracy == pytest.approx(scored["validation"]["accuracy"])
    assert min(found.speeds.values()) > 0


def test_model_card_has_the_run_s_facts_and_its_code_runs(exported, run_path, monkeypatch, capsys):
    import yaml

    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    scored = json.loads((run_path / "metrics.json").read_text())["heads"]["gated"]
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["model-index"][0]["results"][0]["metrics"][0]["value"] == round(scored["accuracy"], 6)
    low, high = (f"{100 * edge:.1f}" for edge in scored["accuracy_interval"])
    assert f"| gated | {100 * scored['accuracy']:.1f} [{low}, {high}] |" in card
    assert "**Verdict.** gated against " in card
    monkeypatch.chdir(exported.folder)
    for block in code_of(card):
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own card
    answers = capsys.readouterr().out.splitlines()
    assert len(answers) == 2
    assert answers[0] == answers[1]


def test_image_encoder_and_head_are_one_graph(run_path, image_encoder, tmp_path):
    settings, encoders = heads.ExportSettings(with_encoders=("image",)), {"image": image_encoder}
    report = heads.export_head(run_path, head="lowrank", settings=settings, output=tmp_path / "out", encoders=encoders)
    assert f"image_pixels uint8 (batch, {SIDE}, {SIDE}, 3)" in map(str, report.inputs)
    assert report.cosines["image"] > 0.9999
    assert report.agreements["onnx"].largest < 1e-5
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "resized to 36 pixels (bilinear, antialiased); the middle 32×32 pixels are cut out" in " ".join(card.split())
    scope = {}
    exec(next(block for block in code_of(card) if "def image_pixels" in block), scope)  # noqa: S102 - our own card
    for number, content in enumerate(odd_pictures()):
        (tmp_path / "picture").write_bytes(content)
        pixels = scope["image_pixels"](tmp_path / "picture")
        np.testing.assert_array_equal(pixels, image_encoder.prepare(content).numpy(), str(number))


@pytest.mark.parametrize("kind", ["vit", "dinov2", "convnextv2", "clip"])
def test_network_gives_the_vectors_of_its_encoder(tmp_path, kind):
    write = write_two_towers if kind == "clip" else write_vision
    encoder = VisionEncoder(str(write(tmp_path / kind, kind)), precision="fp32")
    network = network_of("image", encoder)
    prepared = [encoder.prepare(image_bytes((n, 90, 200 - n), size=(40 + n, 60))) for n in (3, 50)]
    with torch.no_grad():
        vectors = network(network.batch([*prepared, None]))[:2]
        program = torch.export.export(network, (network.batch(prepared),))
        traced = program.module()(network.batch(prepared))
    torch.testing.assert_close(vectors.numpy(), encoder.encode(prepared), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(traced, vectors)


def test_command_exports_a_head_into_the_run(run_path, tmp_path):
    copied = shutil.copytree(run_path, tmp_path / "runs" / "copy")
    result = invoke(export, copied, "--format", "pt2", "--head", "late+guard")
    assert result.exit_code == 0, result.output
    assert "model.pt2 answers 58 rows as PyTorch does" in result.stdout
    assert sorted(path.name for path in (copied / "export" / "late+guard").iterdir()) == ["README.md", "model.pt2"]
    assert sorted(path.name for path in (copied / "export").iterdir()) == ["late+guard"]


# A format of a few lines, which is all that the following need.


def fake_format(monkeypatch, change):
    """Register a format whose answers are the head's own after `change`, a function of the inputs and an answer."""
    kept = {}

    class Code:
        @staticmethod
        def write(program, path, facts):
            path.write_text(json.dumps(facts))
            kept["program"] = program.module()

        @staticmethod
        def load_answer(path):
            assert path.is_file()
            return lambda inputs: tuple(change(inputs, part) for part in kept["program"](inputs=dict(inputs)))

    monkeypatch.setattr(Format, "code", lambda _: Code)
    monkeypatch.setitem(FORMATS, "onnx", Format("onnx", "a module"))


def test_new_format_is_one_entry(run_path, tmp_path, monkeypatch):
    fake_format(monkeypatch, lambda _, part: part)
    report = heads.export_head(run_path, head="lowrank", output=tmp_path / "out")
    assert report.agreements["onnx"].n_answers == 58
    stale = tmp_path / "out" / "model.pt2"
    stale.write_text("of another export")
    heads.export_head(run_path, head="lowrank", output=tmp_path / "out")
    assert not stale.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs, part: part.where((inputs["image_present"] | inputs["text_present"])[:, None], torch.nan),
        lambda inputs, part: part + 0.01 * (inputs["image_present"] & ~inputs["text_present"])[:, None],
        lambda _, part: part + 0.01 * (len(part) == 7),
        lambda _, part: part.roll(1, 0) if len(part) == 2 else part,
    ],
    ids=["rows without any", "rows with a picture alone", "batches of seven", "rows of a batch of two"],
)
def test_answers_that_differ_are_found(trained, change):
    head = trained["lowrank"]
    graph, rows = HeadGraph(head).eval(), drawn_rows(head)
    with torch.no_grad(), pytest.raises(ExportError, match="Expected what was exported to answer as PyTorch does"):
        check_answers(lambda inputs: tuple(change(inputs, part) for part in graph(inputs)), [rows])


def test_export_that_answers_otherwise_is_refused_and_leaves_nothing(run_path, tmp_path, monkeypatch):
    fake_format(monkeypatch, lambda _, part: part + 0.01 * (len(part) == 7))
    with pytest.raises(ExportError, match="Expected what was exported to answer as PyTorch does"):
        heads.export_head(run_path, head="lowrank", output=tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_int8_that_loses_too_much_is_refused():
    report = int8.Int8Report(200, accuracy=0.9, accuracy_int8=0.89, n_bytes=4, n_bytes_int8=1, speeds={})
    int8.check_loss(report, 1.01)
    with pytest.raises(ExportError, match=r"at most 0.5 points .* 89.0 % right instead of 90.0 %"):
        int8.check_loss(report, 0.5)


def test_head_that_depends_on_values_is_no_graph(trained):
    class Choosy(nn.Module):
        def forward(self, inputs, present):
            return inputs["text"][:, :3] if present["text"].all() else inputs["image"][:, :3]

    with pytest.raises(ExportError, match="to be a graph that takes any number of products"):
        trace(HeadGraph(with_module(trained["gated"], Choosy(), name="choosy")))


def test_packages_that_are_missing_are_named(run_path, monkeypatch, tmp_path):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda _: None)
    result = invoke(export, run_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "pip install 'embed-once[export]'" in result.stderr
    assert "onnx, onnxruntime, onnxscript" in result.stderr


def test_cache_that_is_gone_is_named_before_anything_is_traced(run_path, tmp_path):
    copied = shutil.copytree(run_path, tmp_path / "runs" / "copy")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"cache": "gone.h5"}))
    (copied / "manifest.json").unlink()
    result = invoke(export, copied, "--int8", "--head", "text")
    assert result.exit_code == 1
    assert "gone.h5, to measure int8 on validation rows, but it is gone. Name the cache with --cache" in result.stderr
    assert not (copied / "export").exists()


def test_cache_of_other_products_is_no_measure(run_path, tmp_path, trained):
    codes = np.arange(6) % 3
    other = synthetic_cache(
        tmp_path / "other.h5", {"text": class_vectors(codes, 32)}, {"label": [f"class {code}" for code in codes]}
    )
    with pytest.raises(ExportError, match="to have the run's .* validation rows"):
        heads.export_head(run_path, head="text", settings=heads.ExportSettings(int8=True), cache_path=other)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"head": "early"}, RunError, "--head: expected one of"),
        ({"head": "gated", "with_encoders": ("text",)}, HeadError, "extracted without such notes"),
        ({"head": "gated", "with_encoders": ("sound",)}, ExportError, "--with-encoder: expected some of image, text"),
        ({"head": "attention", "with_encoders": ("all",)}, ExportError, "looks at the tokens of text"),
    ],
)
def test_what_cannot_be_exported_is_named(run_path, tmp_path, arguments, error, message):
    settings = heads.ExportSettings(formats=("pt2",), with_encoders=arguments.pop("with_encoders", ()))
    with pytest.raises(error, match=message):
        heads.export_head(run_path, settings=settings, output=tmp_path / "out", **arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"formats": ("tflite",)}, "--format: expected some of onnx, pt2"),
        ({"max_loss": -1.0}, "--max-loss: expected 0 to 100"),
        ({"int8": True, "formats": ("pt2",)}, "Expected --format onnx for --int8"),
        ({"int8": True, "with_encoders": ("image",)}, "use --with-encoder text"),
    ],
)
def test_settings_out_of_their_range_are_named(settings, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        heads.ExportSettings(**settings)


def test_folder_of_something_else_is_not_written_to(run_path, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="to be a new folder, or one of an export"):
        heads.export_head(run_path, output=tmp_path / "out", settings=heads.ExportSettings(formats=("pt2",)))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
