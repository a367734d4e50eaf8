"""The systemd units, and what the programs tell the systemd that started them."""

import re
import shutil
import socket
import subprocess

import pytest

from tests import boxes
from tests.services import BIN, ROOT, Process, free_port

UNITS = sorted((ROOT / "deploy").glob("*/*.service"))
MOST_EXPOSED = 2.0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_exposes_little(unit):
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert float(level) <= MOST_EXPOSED


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_knows_each_line_of_it(unit, tmp_path):
    copy = tmp_path / unit.name
    # the programs are not installed here
    copy.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8")), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr


def hear(socket_path):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(socket_path))
    listening.settimeout(60)
    return listening


def test_the_agent_says_that_it_is_ready_and_alive(tmp_path, street):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))
    with hear(tmp_path / "notify") as systemd:
        command = [BIN / "cityeye-agent", "run", "--settings", settings]
        with Process(command, tmp_path / "log", NOTIFY_SOCKET=str(tmp_path / "notify")) as agent:
            assert [systemd.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
            assert agent.stop() == 0
            assert next(said for said in iter(lambda: systemd.recv(100), b"") if said != b"WATCHDOG=1") == b"STOPPING=1"


def test_the_collector_says_that_it_is_ready_and_alive(tmp_path):
    settings = tmp_path / "center.toml"
    settings.write_text(
        'version = 1\n[center]\nid = "c"\nname = "C"\nregion = "330105"\ntimezone = "Asia/Shanghai"\n'
        f'listen = "127.0.0.1:{free_port()}"\n[broker]\nurl = "mqtt://127.0.0.1:{free_port()}"\n'
    )
    with hear(tmp_path / "notify") as systemd:
        command = [BIN / "cityeye-collector", "serve", "--settings", settings]
        with Process(command, tmp_path / "log", NOTIFY_SOCKET=str(tmp_path / "notify")) as collector:
            # that the broker is away is nothing that a restart would mend
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            assert collector.stop() == 0
