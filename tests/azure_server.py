"""A real server of Azure's blobs on this machine: Azurite, Microsoft's own emulator (``npm install -g azurite``)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import http.client
import select
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path

from bucket_server import BUCKET, STARTS_IN_S, free_ports

ACCOUNT = "devstoreaccount1"  # Azurite's own, with its published key
PROGRAM = shutil.which("azurite-blob")
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def signed_access(permissions: str) -> str:
    """Return a shared access signature of the account, good for an hour: ``rl`` may read and list."""
    until = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {
        "sp": permissions,
        "ss": "b",
        "srt": "co",
        "st": "",
        "se": until,
        "sip": "",
        "spr": "",
        "sv": "2020-04-08",
    }
    signature = _mac("\n".join([ACCOUNT, *fields.values(), ""]))
    return urllib.parse.urlencode({name: value for name, value in fields.items() if value} | {"sig": signature})


def _mac(text: str) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()


class AzureServer:
    """A server with one container, at a free port."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._output = (folder / "output").open("wb")
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(folder / "data")]
        options += ["--skipApiVersionCheck", "--disableTelemetry"]
        self._process = subprocess.Popen([str(PROGRAM), *options], stdout=self._output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + STARTS_IN_S
        while not self._makes_container():
            assert self._process.poll() is None, (folder / "output").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server did not start"
            select.select([], [], [], 0.05)

    def _makes_container(self) -> bool:
        """Make the container, as obstore makes none: a request signed with the account's shared key."""
        date = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
        signed = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in headers.items())
        signed += f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTS_IN_S)
        try:
            connection.request(
                "PUT", f"/{ACCOUNT}/{BUCKET}?restype=container",
                headers={**headers, "Authorization": f"SharedKey {ACCOUNT}:{_mac(signed)}", "Content-Length": "0"},
            )  # fmt: skip
            response = connection.getresponse()
        except OSError:  # not up yet
            return False
        finally:
            connection.close()
        assert response.status == http.HTTPStatus.CREATED, response.status
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
