"""Trackers: real clients write what a run found to stores of their own, which are read back; one that fails loses
nothing."""

import json
import platform
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from support import class_vectors, invoke, synthetic_cache

from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.grid import Range
from heads.ablation.ranking import Ranking
from heads.commands.ablate import ablate as ablate_command
from heads.commands.train import train as train_command
from heads.errors import SettingError, TrackError
from heads.settings import TrainSettings
from heads.tracking import trackers as tracking
from heads.tracking.run_records import run_of_ablation
from heads.tracking.trackers import TRACKERS, TrackedRun, check_trackers, parse_trackers, track
from heads.workflows.ablate import ablate
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

TRAIN = TrainSettings(fusions=("early", "late"), hidden_dim=8, max_epochs=3, n_resamples=100, precision="fp32")
ABLATE = AblationSettings(
    fusions=("early",),
    grid={"hidden_dim": (8,), "max_epochs": (2,), "learning_rate": (2e-3, 1e30)},
    n_folds=2,
    n_resamples=100,
    precision="fp32",
)
RUN = TrackedRun(
    name="a run",
    parameters={"rate": 0.5, "width": 8, "word": "x" * 9000, "encoders/image": "resnet18", "odd: name": True},
    metrics={f"early/test/score {n}": n / 7 for n in range(1200)},
    curves={"early/train_loss": [3.0, 2.0, 1.0], "late:x/validation_loss": [0.5, 0.25]},
    tags={"run_folder": "/somewhere/a run", "verdict/early": "It is better."},
)
# MLflow asks SQLAlchemy 2.1 for a loading strategy that is on its way out.
mlflow_warns = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_settings_of_the_user_s(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    targets = np.arange(120) % 3
    vectors = {"image": class_vectors(targets, 4, spread=2.0), "text": class_vectors(targets, 6, seed=1)}
    path = tmp_path_factory.mktemp("tracking") / "c.h5"
    return synthetic_cache(path, vectors, {"label": [f"class {code}" for code in targets]})


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A database as MLflow makes it in half a hundred migrations, which is copied where they are not what is tested."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
        MlflowClient(tracking_uri=f"sqlite:///{path}")
    return path


@pytest.fixture
def keep(tmp_path):
    """Keep a run with a tracker that is installed; return what it says, and the run's folder."""

    def keep(name, run=RUN):
        pytest.importorskip(name, reason=f"{name} is not installed")
        run_path = tmp_path / "runs" / run.name
        run_path.mkdir(parents=True)
        module, function = TRACKERS[name]
        return getattr(__import__(module, fromlist=[function]), function)(run, run_path), run_path

    return keep


def read_events(folder):
    """Return TensorBoard's scalars, {tag: [(step, value)]}, and its texts."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]}
    return scalars, texts


def read_mlflow(address, experiment="embed-once"):
    """Return MLflow's runs of an experiment, the first one first, and its client."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    kept = client.get_experiment_by_name(experiment)
    return client.search_runs([kept.experiment_id], order_by=["attributes.start_time"]), client


def records_of(path):
    """Yield the records of a file in LevelDB's log format, behind wandb's header of seven bytes."""
    content, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32_768 - place % 32_768
        if left < 7:  # a block's end has no room for another record
            place += left
            continue
        n_bytes, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + 7 : place + 7 + n_bytes]
        place += 7 + n_bytes
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def read_wandb(folder):
    """Return what an offline run's folder says: its configuration, its history and its summary."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its service may still be writing, as it does until a process ends
    (path,) = folder.glob("*.wandb")
    config, history, summary, name, group = {}, [], {}, None, None
    for content in records_of(path):
        record = Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name, group = record.run.display_name, record.run.run_group
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            items = {
                (item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item
            }
            history.append(items)
        elif kind == "summary":
            summary |= {
                (item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.summary.update
            }
    return {"config": config, "history": history, "summary": summary, "name": name, "group": group}


@pytest.fixture
def _wandb_ends():
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


def test_tensorboard_gets_curves_by_epoch_scores_and_settings(keep):
    where, run_path = keep("tensorboard")
    assert where == f"tensorboard --logdir {run_path.parent}"
    scalars, texts = read_events(run_path / "tensorboard")
    assert scalars["early/train_loss"] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert scalars["early/test/score 7"] == [(0, 1.0)]
    assert "/somewhere/a run" in texts.values()


def test_a_child_has_a_folder_of_its_own_in_tensorboard(keep):
    child = TrackedRun("run-001-early/../x", {"head": "early"}, {"test/macro_f1": 0.5})
    _, run_path = keep("tensorboard", TrackedRun("r", {}, {}, children=[child]))
    scalars, _ = read_events(run_path / "tensorboard" / "run-001-early-..-x")
    assert scalars["test/macro_f1"] == [(0, 0.5)]


@mlflow_warns
def test_mlflow_gets_curves_by_epoch_scores_and_settings_beside_the_run_folders(tmp_path):
    """In a new database, whose folder's name is taken by the letter in its address."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from heads.tracking.mlflow_tracker import to_mlflow

    folder = tmp_path / "50%20 a?b=%41 #x"
    run_path = folder / RUN.name
    run_path.mkdir(parents=True)
    address = to_mlflow(RUN, run_path).removesuffix(", experiment embed-once")
    assert sorted(path.name for path in folder.iterdir()) == [RUN.name, "mlflow.db"]
    assert list(tmp_path.rglob("*.db")) == [folder / "mlflow.db"]
    (run,), client = read_mlflow(address)
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    curve = client.get_metric_history(run.info.run_id, "early/train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert run.data.metrics["early/test/score 7"] == 1.0
    assert run.data.metrics["late_x/validation_loss"] == 0.25
    assert len(run.data.metrics) == 1202
    assert {name: run.data.params[name] for name in ("rate", "width", "encoders/image", "odd_ name")} == {
        "rate": "0.5",
        "width": "8",
        "encoders/image": "resnet18",
        "odd_ name": "True",
    }
    assert run.data.tags["run_folder"] == "/somewhere/a run"


@mlflow_warns
def test_no_two_names_become_one_in_mlflow(keep, empty_store, tmp_path):
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    metrics = {"a:b": 1.0, "a_b": 2.0, "a;b": 3.0, "a_b 2": 4.0, "c:d": 5.0}
    parameters = {"x:y": "1", "x;y": "2"}
    where, run_path = keep("mlflow", TrackedRun("r", parameters, metrics, {"a,b": [6.0]}))
    address = f"sqlite:///{run_path.parent / 'mlflow.db'}"
    assert where == f"{address}, experiment embed-once"
    ((run,), _) = read_mlflow(address)
    assert run.data.metrics == {"a_b": 2.0, "a_b 2": 4.0, "a_b 3": 6.0, "a_b 4": 1.0, "a_b 5": 3.0, "c_d": 5.0}
    assert run.data.params == {"x_y": "1", "x_y 2": "2"}


@mlflow_warns
def test_mlflow_s_own_variables_are_honoured_and_children_are_nested(keep, empty_store, monkeypatch, tmp_path):
    shutil.copy(empty_store, tmp_path / "theirs.db")
    address = f"sqlite:///{tmp_path / 'theirs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    failed = TrackedRun("bad", {}, {}, tags={"error": "It diverged."})
    _, run_path = keep("mlflow", TrackedRun("r", {}, {"jobs": 2}, children=[TrackedRun("c", {}, {"x": 1.0}), failed]))
    assert list(run_path.parent.iterdir()) == [run_path]
    runs, _ = read_mlflow(address, "theirs")
    by_name = {run.info.run_name: run for run in runs}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in by_name.items()}
    assert parents == {"r": None, "c": by_name["r"].info.run_id, "bad": by_name["r"].info.run_id}
    assert {name: run.info.status for name, run in by_name.items()} == {
        "r": "FINISHED",
        "c": "FINISHED",
        "bad": "FAILED",
    }


@pytest.mark.usefixtures("_wandb_ends")
def test_wandb_gets_curves_by_epoch_scores_and_settings_offline(keep):
    where, run_path = keep("wandb")
    folder = Path(where.removeprefix("wandb sync "))
    assert folder.is_relative_to(run_path.parent / "wandb")
    kept = read_wandb(folder)
    assert kept["name"] == "a run"
    assert kept["config"]["rate"] == 0.5
    assert kept["config"]["run_folder"] == "/somewhere/a run"
    assert [line["_step"] for line in kept["history"]] == [1, 2, 3]
    assert [line["early/train_loss"] for line in kept["history"]] == [3.0, 2.0, 1.0]
    assert [line.get("late:x/validation_loss") for line in kept["history"]] == [0.5, 0.25, None]
    assert kept["summary"]["early/test/score 7"] == 1.0


@pytest.mark.usefixtures("_wandb_ends")
def test_wandb_s_own_variables_are_honoured_and_children_are_a_group(keep, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "theirs"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    keep("wandb", TrackedRun("r", {}, {}, children=[TrackedRun("c", {}, {"x": 1.0})]))
    folders = sorted((tmp_path / "theirs" / "wandb").glob("offline-run-*"))
    kept = {one["name"]: one for one in map(read_wandb, folders)}
    assert set(kept) == {"r", "c"}
    assert {one["group"] for one in kept.values()} == {"r"}
    assert kept["c"]["summary"]["x"] == 1.0


@pytest.mark.usefixtures("_wandb_ends")
def test_wandb_keeps_nothing_of_the_machine_the_script_or_the_packages(keep, monkeypatch):
    monkeypatch.setenv("WANDB_HOST", "the-name-of-the-host")
    monkeypatch.setenv("WANDB_SAVE_CODE", "true")
    monkeypatch.setattr(sys, "argv", [__file__, "--an-argument"])
    where, _ = keep("wandb")
    folder = Path(where.removeprefix("wandb sync "))
    read_wandb(folder)  # once it has, all is written
    assert [path.name for path in (folder / "files").rglob("*")] == []
    (path,) = folder.glob("*.wandb")
    content = b"".join(records_of(path))
    assert b"early/train_loss" in content  # so that it would be seen
    told = ["the-name-of-the-host", "--an-argument", Path(__file__).name, sys.executable, platform.platform()]
    assert [one for one in told if one.encode() in content] == []


@pytest.fixture
def kept(monkeypatch):
    """What a tracker is told, in its place."""
    kept = []
    monkeypatch.setattr(
        "heads.tracking.tensorboard_tracker.to_tensorboard", lambda run, path: kept.append((run, path)) or "here"
    )
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: name)
    return kept


def test_a_training_tells_of_each_head_what_its_run_folder_says(kept, cache_path, tmp_path):
    report = train(cache_path, settings=TRAIN, runs_path=tmp_path, trackers=["tensorboard"])
    ((run, run_path),) = kept
    assert run_path == report.run_path
    assert (run_path / "config.json").exists()
    metrics = json.loads((run_path / "metrics.json").read_text())
    for head, measured in {**metrics["heads"], **metrics["controls"]}.items():
        for score in ("accuracy", "macro_f1", "log_loss"):
            assert run.metrics[f"{head}/test/{score}"] == pytest.approx(measured[score])
        assert run.metrics[f"{head}/validation/macro_f1"] == pytest.approx(measured["validation"]["macro_f1"])
        for name in ("train_loss", "validation_loss", "validation_macro_f1"):
            curve = [epoch[name] for epoch in measured["history"]]
            assert run.curves.get(f"{head}/{name}", []) == pytest.approx(curve)
    assert len(run.curves["early/train_loss"]) == 3
    assert run.parameters["hidden_dim"] == 8
    assert run.parameters["label"] == "label"
    assert run.parameters["encoders/image"] == "synthetic"
    assert run.parameters["fusions"] == "early,late"
    assert run.tags["run_folder"] == str(run_path.resolve())
    assert run.tags["verdict/early"] == metrics["verdicts"][0]["sentence"]


def test_an_ablation_tells_of_each_configuration_its_means(kept, cache_path, tmp_path):
    report = ablate(cache_path, settings=ABLATE, runs_path=tmp_path, trackers=["tensorboard"])
    ((run, _),) = kept
    rows = report.ranking.rows
    assert [child.parameters["head"] for child in run.children] == [row.configuration.head for row in rows]
    assert run.parameters["grid/learning_rate"] == "0.002,1e+30"
    assert run.metrics == {"jobs": 12, "failed_jobs": 6, "configurations": 6}
    best, last = run.children[0], run.children[-1]
    assert best.metrics["test/macro_f1"] == rows[0].macro_f1.mean
    assert best.metrics["validation/macro_f1_deviation"] == rows[0].validation.deviation
    assert best.parameters["learning_rate"] == 0.002
    assert "Lower --learning-rate" in last.tags["error"]
    assert "test/macro_f1" not in last.metrics
    fusion = next(n for n, row in enumerate(rows) if row.configuration == report.ranking.fusion)
    assert run.children[fusion].metrics["test/macro_f1_difference_low"] == rows[fusion].macro_f1_difference.low


def test_a_range_that_was_searched_is_one_parameter(tmp_path):
    grid = {"learning_rate": Range("learning_rate", 1e-4, 1e-2, "log"), "hidden_dim": (8, 16)}

    class Report:
        run_path, label, encoders, n_jobs, n_failed = tmp_path, "label", {"text": ["a"]}, 0, 0
        ranking, naming = Ranking([], None, None, None), None

    run = run_of_ablation(Report, AblationSettings(grid=grid, n_trials=2))
    told = {name: value for name, value in run.parameters.items() if name.startswith("grid")}
    assert told == {"grid/learning_rate": "0.0001..0.01", "grid/hidden_dim": "8,16"}


@mlflow_warns
@pytest.mark.usefixtures("_wandb_ends")
@pytest.mark.parametrize("name", TRACKERS)
def test_the_commands_tell_a_real_tracker(cache_path, tmp_path, request, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "mlflow":
        shutil.copy(request.getfixturevalue("empty_store"), tmp_path / "mlflow.db")
    result = invoke(
        train_command, cache_path, "--runs", tmp_path, "--fusion", "early", "--max-epochs", 2, "--hidden-dim", 8,
        "--name", "a", "--track", name,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert f"{name}: " in result.stderr
    result = invoke(
        ablate_command, cache_path, "--runs", tmp_path, "--fusion", "early", "--max-epochs", 1, "--hidden", 8,
        "--folds", 2, "--resamples", 100, "--name", "b", "--no-report", "--track", name,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    written = {
        "tensorboard": ["a/tensorboard", "b/tensorboard/b-001-*"],
        "mlflow": ["mlflow.db"],
        "wandb": ["wandb/offline-run-*"],
    }
    assert all(list(tmp_path.glob(pattern)) for pattern in written[name])
    if name == "mlflow":
        assert {run.info.run_name for run in read_mlflow(f"sqlite:///{tmp_path / 'mlflow.db'}")[0]} >= {"a", "b"}
    assert result.stdout.splitlines()[-1].startswith(str(tmp_path / "b"))


@pytest.mark.parametrize("is_json", [False, True])
def test_a_tracker_that_fails_is_one_line_at_the_end_and_loses_nothing(
    kept, cache_path, tmp_path, monkeypatch, is_json
):
    def fail(run, run_path):
        raise ConnectionError("no route\nto it")

    monkeypatch.setattr("heads.tracking.wandb_tracker.to_wandb", fail)
    quick = ("--fusion", "early", "--max-epochs", 1, "--name", "a", "--track", "wandb,tensorboard")
    quick += ("--json",) * is_json
    for command, options in ((train_command, ("--hidden-dim", 8)), (ablate_command, ("--hidden", 8, "--folds", 2))):
        runs_path = tmp_path / command.name
        result = invoke(command, cache_path, "--runs", runs_path, *quick, *options)
        assert result.exit_code == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert "wandb failed (ConnectionError: no route to it)" in line
        assert f"the run is kept at {runs_path / 'a'}." in line
        assert str(runs_path / "a") in result.stdout
        assert json.loads(result.stdout)["run_path"] if is_json else "macro-F1" in result.stdout
        assert (runs_path / "a").is_dir()
    assert len(kept) == 2  # the other tracker was told all the same


def test_an_error_of_a_tracker_has_the_report(monkeypatch, tmp_path):
    def fail(run, run_path):
        raise ValueError("not\n  there " + "x" * 999)

    class Report:
        run_path = tmp_path

    monkeypatch.setattr("heads.tracking.mlflow_tracker.to_mlflow", fail)
    with pytest.raises(
        TrackError, match=re.escape(f"{'x' * 289}). Nothing is lost: the run is kept at {tmp_path}")
    ) as caught:
        track(["mlflow"], RUN, report=Report)
    assert caught.value.report is Report
    assert "mlflow failed (ValueError: not there x" in str(caught.value)


@pytest.mark.parametrize("command", [train_command, ablate_command])
@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_said_before_anything_is_trained(
    command, name, cache_path, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, name, None)
    result = invoke(command, cache_path, "--runs", tmp_path / "runs", "--track", name)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"pip install 'embed-once[{name}]'" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_list_names_trackers():
    assert parse_trackers(" mlflow, wandb,mlflow") == ("mlflow", "wandb")
    assert parse_trackers(None) == ()
    with pytest.raises(SettingError, match=r"--track: expected some of mlflow, tensorboard, wandb, got 'neptune'"):
        parse_trackers("mlflow,neptune")
    with pytest.raises(SettingError, match="neptune"):
        check_trackers(["neptune"])


def test_every_tracker_is_an_extra_of_its_name():
    from configparser import ConfigParser

    from support import ROOT

    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert TRACKERS.keys() <= dict(setup["options.extras_require"]).keys()
