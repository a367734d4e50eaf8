"""What systemd is told."""

import os
import socket
from functools import partial

import pytest

from protocol.supervision import notify


@pytest.mark.parametrize("address", ["{folder}/notify", "@cityeye-test-{pid}"])
def test_it_is_said_to_the_socket_that_is_named(tmp_path, monkeypatch, address):
    name = address.format(folder=tmp_path, pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "@cityeye-nobody"])
def test_where_nobody_listens_it_goes_on(monkeypatch, address):
    say = partial(monkeypatch.setenv, "NOTIFY_SOCKET")
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        say(address)
    notify("WATCHDOG=1")
