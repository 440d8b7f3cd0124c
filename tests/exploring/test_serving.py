"""Laws of the explorer's command: it ends cleanly, and says what is missing before it reads weights."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

import erosion as er
from erosion.errors import BadInput
from erosion.exploring import serving


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(by):
    command = [sys.executable, "-m", "erosion", "explore", "--organism", "insecure", "--no-browser"]
    settings = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings
    ) as running:
        assert running.stdout is not None
        address = running.stdout.readline().split()[1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200
        running.send_signal(by)
        said, errors = running.communicate(timeout=60)
    assert running.returncode == 0
    assert said.strip().endswith("Ended.")
    assert errors == ""


def test_a_port_that_is_taken_is_said_before_weights_are_read(monkeypatch):
    monkeypatch.setattr(serving, "session_of", lambda *_, **__: pytest.fail("weights were read"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"Port {port} cannot be used: choose another, or 0"):
            er.explore(er.load_organism().triad("insecure"), port=port, open_browser=False)


def test_without_dash_the_remedy_is_said_before_weights_are_read(monkeypatch):
    monkeypatch.setattr(serving, "session_of", lambda *_, **__: pytest.fail("weights were read"))
    monkeypatch.setitem(sys.modules, "erosion.exploring.page", None)
    with pytest.raises(BadInput, match=r"pip install 'alignment-erosion\[explore\]'"):
        er.explore(er.load_organism().triad("insecure"), open_browser=False)
