"""The container's steps, run as a script where there is no engine: what is installed, who runs it, and its health."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn import draw_catalogue
from support import ROOT

pytestmark = pytest.mark.slow

DOCKERFILE = ROOT / "Dockerfile"
CONTAINER = ROOT / "docs" / "container"
LIBRARIES = "/opt/embed-once"  # where the image's environment is


def instructions():
    """Return the Dockerfile's instructions in their order, [(name, argument)], continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def only(name):
    """Return the argument of the one instruction of a name."""
    (argument,) = [argument for instruction, argument in instructions() if instruction == name]
    return argument


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder in which COPY and RUN were done; pip has no index, and the libraries are lent, pip among them."""
    root = tmp_path_factory.mktemp("image")
    environment = {
        "PATH": f"{root}{LIBRARIES}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(root),
        "TORCH_INDEX": "",
        **dict.fromkeys(("PIP_NO_INDEX", "PIP_NO_DEPS"), "1"),
        **dict.fromkeys(("PIP_NO_BUILD_ISOLATION", "PIP_NO_COMPILE"), "0"),  # pip reads these as the options' own sense
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    for name, argument in instructions():
        if name == "COPY":
            *sources, target = argument.split()
            copy_tracked(sources, f"{root}{target}")
        elif name == "RUN":
            script = argument.replace(LIBRARIES, f"{root}{LIBRARIES}").replace("/src", f"{root}/src")
            script = script.replace("-m venv ", "-m venv --without-pip ")  # to install it takes longer than all else
            script = script.replace("pip install", "python -m pip install")
            completed = subprocess.run(
                ["/bin/sh", "-ec", script], env=environment, cwd=root, capture_output=True, text=True, check=False
            )
            assert completed.returncode == 0, (script, completed.stderr)
            if "venv" in script:
                lend(root)
    return root


def tracked(*names):
    """Return the files of the checkout that git knows, of those that are named and in folders that are."""
    command = ["git", "ls-files", "-z", "--", *names]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


def copy_tracked(sources, target):
    """Copy files of the checkout, and what folders of it hold, but nothing that git does not know."""
    for name in tracked(*sources):
        copied = Path(target, name.removeprefix(f"{sources[0]}/"))  # of a folder, what it holds is copied
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copied)


def lend(root):
    """Give the image's environment the libraries that are here: there is no index to take them from."""
    python = f"{root}{LIBRARIES}/bin/python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    (Path(site) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")


def test_image_has_the_server_and_nothing_of_the_checkout(image):
    assert not (image / "src").exists()
    code = "import heads, heads.serving.page, sys; print(heads.__file__)"
    python = f"{image}{LIBRARIES}/bin/python"
    where = subprocess.run([python, "-c", code], cwd=image, capture_output=True, text=True, check=False)
    assert where.stdout.startswith(f"{image}{LIBRARIES}"), where.stderr
    (command,) = re.findall(r'"(.+?)"', only("ENTRYPOINT"))
    completed = subprocess.run(
        [f"{image}{LIBRARIES}/bin/{command}", "--help"], cwd=image, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    options = [word for word in re.findall(r'"(.+?)"', only("CMD")) if word.startswith("--")]
    assert options
    assert all(option in completed.stdout for option in options)


# What each imports alone takes longer than all that they do.
ONE_AFTER_ANOTHER = """
import json, runpy, sys

for sys.argv in json.loads(sys.argv[1]):
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
"""


def test_what_is_installed_has_all_that_the_commands_need(image, tmp_path):
    """Built from the files that git knows, and run where there is no checkout; the cache's vectors are imported.

    That a command writes its page is seen at one of each package; the others' templates are as much installed.
    """
    path = draw_catalogue(tmp_path / "shop", n_products=60)
    np.save(tmp_path / "shop" / "drawn.npy", np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32))
    lines = (
        ("embed-inspect", "--no-estimate"),
        ("cache-import", "drawn.npy", "--ids", path, "--modality", "text", "--name", "drawn",
         "--spec", "by=hand", "-o", "embeddings.h5"),
        ("heads-train", "--max-epochs", "1", "--min-rows", "2", "--resamples", "100", "--controls", "none"),
        ("cache-info",),
        ("embed-extract", "--help"),
    )  # fmt: skip
    folder = f"{image}{LIBRARIES}/bin"
    scripts = json.dumps([[f"{folder}/{name}", *map(str, options)] for name, *options in lines])
    code = f"{ONE_AFTER_ANOTHER}\nprint(sys.modules['heads'].__file__)"
    completed = subprocess.run(
        [f"{folder}/python", "-c", code, scripts], cwd=tmp_path / "shop", capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines()[-1].startswith(f"{image}{LIBRARIES}")
    assert list((tmp_path / "shop" / "runs").glob("*/report.html"))


def test_every_file_of_the_packages_is_installed(image):
    """Pages and scripts, too."""
    (package,) = Path(f"{image}{LIBRARIES}").glob("lib/*/site-packages/heads")
    names = tracked("cache", "embed", "heads", "embed_once.py")
    assert "heads/serving/page/index.html" in names
    assert [name for name in names if not (package.parent / name).is_file()] == []


def test_image_is_not_root_and_weights_come_from_no_network():
    user, group = map(int, only("USER").split(":"))
    assert user
    assert group
    assert "HF_HUB_OFFLINE=1" in " ".join(argument for name, argument in instructions() if name == "ENV")


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_is_that_the_server_is_ready(status, code):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    paths = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (check,) = re.findall(r'CMD python -c "(.+)"$', only("HEALTHCHECK"))
        check = check.replace(":8000", f":{server.server_port}")
        completed = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False)
        server.shutdown()
    assert completed.returncode == code
    assert paths == ["/readyz"]


def test_compose_serves_the_image_to_this_machine_alone_and_prometheus_asks_it():
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
    heads = compose["services"]["heads"]
    assert (CONTAINER / heads["build"]["context"]).resolve() == ROOT
    assert all(port.startswith("127.0.0.1:") for service in compose["services"].values() for port in service["ports"])
    assert heads["read_only"]
    mounted = [volume.split(":")[-2:] for volume in heads["volumes"]]
    assert mounted == [["/run", "ro"], ["/weights", "ro"]]
    scraped = yaml.safe_load((CONTAINER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    (target,) = scraped["static_configs"][0]["targets"]
    assert target == f"heads:{only('EXPOSE')}"
