"""Processes that are forked behave as those that are started: streams, arguments, environment, signals, exit codes."""

import os
import signal
import subprocess
import sys

import fork_server
import pytest

pytestmark = pytest.mark.slow

TELLS = """
import os, signal, sys, threading
print(*sys.argv[1:], os.getcwd(), os.environ["NAMED"], len(os.environ), sys.stdin.read(), sys.path[0] == "")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, __name__, threading.active_count())
sys.exit("at last")
"""


@pytest.mark.parametrize("start", [fork_server.run, subprocess.run])
def test_a_process_has_what_it_is_given_and_nothing_else(start, tmp_path):
    line = [sys.executable, "-c", TELLS, "an argument", tmp_path]
    environment = {"NAMED": "a value", "LC_CTYPE": "C.UTF-8"}
    done = start(line, cwd=tmp_path, env=environment, input="given", capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"an argument {tmp_path} {tmp_path} a value 2 given True",
        "True __main__ 1",
    ]
    assert (done.returncode, done.stderr) == (1, "at last\n")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_as_it_ends_a_process_of_python(sent):
    line = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
    with fork_server.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        process.send_signal(sent)
        assert process.wait(60) == -sent
        assert ("KeyboardInterrupt" in process.stderr.read()) == (sent == signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_an_error_is_shown_and_is_1(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import beside\nraise ValueError(beside.VALUE)")
    (tmp_path / "beside.py").write_text("VALUE = 'a value'")
    done = fork_server.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: a value"
    with pytest.raises(subprocess.CalledProcessError):
        fork_server.run([sys.executable, script], capture_output=True, check=True)
