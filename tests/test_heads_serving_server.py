"""A server that is started, loaded and stopped for real, and that does not start where it could only answer wrongly."""

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import socket
import time

import httpx
import pytest
from safetensors.numpy import load_file, save_file
from served import started, stop
from support import image_bytes, invoke, write_review_page

from cache.keys import fields_sha256
from heads.commands.serve import serve
from heads.data.corrections import read_corrections
from heads.serving.connections import tell_of_shortages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(served_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with started(served_run, folder, "--deadline", "20", "--review", write_review_page(folder)) as server:
        server.labels_path = folder / "r-labels.csv"
        yield server


async def ask(port, body, *, headers=()):
    """Send a JSON request on a connection of its own; return the status, None where there was no answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [
            "POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Connection: close",
            f"Content-Length: {len(body)}", *headers,
        ]  # fmt: skip
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await reader.read()
        return int(answer.split(b" ")[1]) if answer else None
    finally:
        writer.close()


def connect(port, content):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(content)
    return connection


def figure(server, name):
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_thousand_requests_at_once_are_answered_or_told_to_come_again(server):
    """While clients that send nothing, or half of a request, hang on."""
    hanging = [connect(server.port, b"") for _ in range(20)]
    hanging += [connect(server.port, b"POST /predict HTTP/1.1\r\nContent-Le") for _ in range(20)]
    half = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"
    hanging += [connect(server.port, half) for _ in range(20)]

    async def run():
        bodies = [json.dumps({"id": "p1"} if n % 2 else {"text": f"word{n} of {n}"}).encode() for n in range(1000)]
        return await asyncio.gather(*(ask(server.port, body) for body in bodies))

    statuses = asyncio.run(run())
    for connection in hanging:
        connection.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 100
    assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200


def test_clients_that_hung_up_cost_no_forward_pass(server):
    """Each of many sends a picture that takes long and hangs up at once; what waits then is dropped."""
    content = large_picture()
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    head += f"Content-Length: {len(content) + 4}\r\n\r\n"
    before = figure(server, "embed_once_products_dropped_total")
    for n in range(60):
        connect(server.port, head.encode() + content + f"{n:04}".encode()).close()
    end = time.monotonic() + 60
    while figure(server, "embed_once_products_waiting") or figure(server, "embed_once_requests_in_flight") > 1:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert figure(server, "embed_once_products_dropped_total") > before


def test_body_in_chunks_without_end_is_cut_off(server):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 20_000
    with connect(server.port, head) as connection, pytest.raises((ConnectionError, TimeoutError)):
        connection.sendall(chunks)
    assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200


def test_request_too_large_is_answered_before_the_connection_ends(server):
    done = httpx.post(
        f"{server.url}/predict", content=b"x" * (17 * 2**20), headers={"Content-Type": "image/png"}, timeout=60
    )
    assert done.status_code == 413


def save(server, answers, **options):
    return httpx.post(f"{server.url}/review/answers", json={"answers": answers}, timeout=30, **options)


def test_answers_of_a_review_are_in_the_file_when_they_are_confirmed(server):
    page = httpx.get(f"{server.url}/review", timeout=30)
    assert 'data-save="review/answers"' in page.text
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert save(server, [["0", "a"]], headers={"Origin": server.url}).json() == {"n_labels": 2, "file": "r-labels.csv"}
    assert save(server, [["1", "b"], ["0", None], ["2", "c"]], headers={"Sec-Fetch-Site": "same-origin"}).is_success
    assert dict(read_corrections(server.labels_path).labels) == {"x3": 'a "cup", <large>', "1": "b", "2": "c"}
    told = httpx.get(f"{server.url}/review/answers", timeout=30).json()
    assert told == {"answers": {"1": "b", "2": "c"}, "file": "r-labels.csv"}


def test_answers_that_another_site_sends_are_refused(server):
    """Its page may have a browser send them, with the password that it knows; but a browser says whose they are."""
    before = server.labels_path.read_bytes()
    for headers in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"},
        {"Origin": server.url, "Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ):  # fmt: skip
        refused = save(server, [["3", "a"]], headers=headers)
        assert refused.status_code == 403
    form = httpx.post(f"{server.url}/review/answers", data={"answers": "3"}, timeout=30)
    assert [form.status_code, save(server, [["elsewhere", "a"]]).status_code] == [415, 422]
    assert save(server, [["3", "a" * (17 * 2**20)]]).status_code == 413
    assert server.labels_path.read_bytes() == before


def test_a_shortage_of_descriptors_is_told_in_one_line(caplog):
    """As asyncio tells of it, thousands of times a second."""

    async def run():
        tell_of_shortages()
        for _ in range(3):
            context = {"message": "socket.accept() out of system resource"}
            context["exception"] = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            asyncio.get_running_loop().call_exception_handler(context)

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "New connections wait: Too many open files. Permit the server more (ulimit -n), or free some."
    ]


def large_picture():
    return image_bytes("navy", size=(2000, 2000))


def copied(served_run, folder):
    return shutil.copytree(served_run.run_path, folder / "run")


def assert_refused(result, *words):
    assert result.exit_code == 1, result.stderr
    error = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1
    assert all(word in error[0] for word in words), error


def test_flipped_bit_in_a_head_is_found_at_the_start(served_run, tmp_path):
    path = copied(served_run, tmp_path) / "early.safetensors"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert_refused(invoke(serve, path.parent, "--port", 0), "early.safetensors", "train again")


def test_run_of_a_newer_version_says_so(served_run, tmp_path):
    path = copied(served_run, tmp_path) / "early.json"
    path.write_text(path.read_text().replace('"format_version": 5', '"format_version": 6'))
    (path.parent / "manifest.json").unlink()  # which would say that it was changed
    about = json.loads(path.read_text())
    del about["sha256"]
    path.write_text(json.dumps(about | {"sha256": fields_sha256(about)}))
    assert_refused(invoke(serve, path.parent, "--port", 0), "version 3, 4, 5, but", "Update embed-once")


def test_encoder_that_gives_other_vectors_ends_the_server(served_run, tmp_path):
    path = copied(served_run, tmp_path) / "encoder_samples.safetensors"
    tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
    tensors["image.vector"] = -tensors["image.vector"]
    save_file(tensors, path)
    (path.parent / "manifest.json").unlink()
    result = invoke(serve, path.parent, "--port", 0, "--device", "cpu")
    assert_refused(result, "image encoder", "cosine")


def test_cache_that_is_named_must_be_one(served_run, tmp_path):
    assert_refused(invoke(serve, served_run.run_path, "--port", 0, "--cache", tmp_path / "no.h5"), "no.h5")


def test_port_in_use_and_a_token_of_nothing_are_named(served_run, server):
    assert_refused(invoke(serve, served_run.run_path, "--port", server.port), str(server.port), "--port")
    assert_refused(invoke(serve, served_run.run_path, "--token", "ä"), "--token")


def test_stop_loses_no_request_that_was_accepted(server):  # the last test, since it ends the server
    """SIGTERM while many wait for pictures that take long: all get their answers, and the exit code is 0."""
    contents = [large_picture() + str(n).encode() for n in range(12)]

    async def run():
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=30)) as client:
            asked = [
                asyncio.create_task(
                    client.post(f"{server.url}/predict", content=content, headers={"Content-Type": "image/png"})
                )
                for content in contents
            ]
            while (await asyncio.to_thread(figure, server, "embed_once_requests_in_flight")) < 1 + len(contents):
                await asyncio.sleep(0.02)
                assert not all(task.done() for task in asked)
            n_before = sum(task.done() for task in asked)
            n_hung_up = figure(server, 'embed_once_requests_total{endpoint="/predict",status="499"}')
            code = await asyncio.to_thread(stop, server, signal.SIGTERM)
            return n_before, n_hung_up, code, await asyncio.gather(*asked)

    n_before, n_hung_up, code, answers = asyncio.run(run())
    assert [answer.status_code for answer in answers] == [200] * len(contents)
    assert n_before < len(contents)
    assert code == 0
    text = server.log.read_text()
    ready, *others, stopped = text.splitlines()
    assert ready.startswith("Ready: ")
    assert set(others) <= {"socket.send() raised exception."}, text  # asyncio's, of the clients that hung up
    assert stopped.startswith("Stopped: requests answered: ")
    assert [int(n) for n in re.findall(r"\d+", stopped.replace(",", ""))][1] == n_hung_up
