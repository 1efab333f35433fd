"""The user's secret is made once, and is nobody else's."""

import os
import stat
from pathlib import Path

import pytest

from cache.system.user_folder import user_folder, user_secret


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path, monkeypatch):
    secret = user_secret()
    path = Path.home() / ".cache/embed-once/secret"
    assert secret == user_secret() == path.read_bytes()
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["secret"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert user_folder() == tmp_path / "other/embed-once"
    assert user_secret() != secret


@pytest.mark.parametrize("state", ["readable by others", "half a file", "a link", "a folder", "a pipe", "no folder"])
def test_what_others_may_know_is_no_secret(state, tmp_path, monkeypatch):
    user_secret()
    path = user_folder() / "secret"
    if state == "readable by others":
        path.chmod(0o640)
    elif state == "half a file":
        path.write_bytes(b"a" * 16)
    elif state == "no folder":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        path.rename(tmp_path / "secret")
        {
            "a link": lambda: path.symlink_to(tmp_path / "secret"),
            "a folder": path.mkdir,
            "a pipe": lambda: os.mkfifo(path, 0o600),
        }[state]()
    assert user_secret() is None
