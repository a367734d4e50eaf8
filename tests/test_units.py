"""The systemd units, and what the programs tell the systemd that started them."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests import boxes
from tests.services import BIN, ROOT, Process, free_port, wait_for

UNITS = sorted((ROOT / "deploy").glob("*/*.service"))
MOST_EXPOSED = 2.0
NEWER = "Unknown key (name )?'Restart(Steps|MaxDelaySec)"


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
    # Debian 12's knows nothing of the last two, and goes on without
    lines = [line for line in done.stderr.splitlines() if unit.name in line and not re.search(NEWER, line)]
    assert not lines, done.stderr


@pytest.mark.parametrize("unit", ["cityeye-agent", "cityeye-collector"])
def test_what_fails_is_started_again_for_ever(unit):
    text = (ROOT / f"deploy/units/{unit}.service").read_text("utf-8")
    assert {"StartLimitIntervalSec=0", "Restart=always", "RestartMaxDelaySec=300"} <= {*text.splitlines()}
    assert not re.search("StartLimitAction|FailureAction|SuccessAction", text)


READ_ONLY = """
mount --make-rprivate / && mkdir -p "$0" && mount -t tmpfs state "$0" && mount -t tmpfs shm /dev/shm || exit 9
awk '{print $2}' /proc/self/mounts | while read -r one; do
    case "$one" in "$0" | /dev | /dev/* | /proc*) ;; *) mount -o remount,ro,bind "$one" || true ;; esac
done
touch /tmp/writable 2>/dev/null && exit 9
exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
def test_agent_and_collector_write_only_into_their_state_folders(tmp_path, street):
    def run(state, *command, **more):
        return Process(
            ["unshare", "-m", "sh", "-c", READ_ONLY, state, *command], tmp_path / f"{state.name}.log", **more
        )

    port, broker_port = free_port(), free_port()
    center = tmp_path / "center.toml"
    center.write_text(
        f'version = 1\n[center]\nid = "c"\nlisten = "127.0.0.1:{port}"\n[broker]\nurl = "mqtt://127.0.0.1:{broker_port}"\n'
    )
    zone = {**boxes.FRONTAGE, "dwell_s": 3.0, "clear_s": 2.0}
    camera = {"learn_s": 4.0, "sample_s": 0.5}
    box = boxes.settings(tmp_path, zone, source=str(street), camera=camera, center=f"mqtt://127.0.0.1:{broker_port}")
    serve = [BIN / "cityeye-collector", "serve", "--settings", center]
    with (
        run(tmp_path / "data", *serve, port=port) as collector,
        run(tmp_path / "state", BIN / "cityeye-agent", "run", "--settings", box) as agent,
    ):
        state = Path(f"/proc/{agent.process.pid}/root{tmp_path}/state")
        kept = {"outbox.db", "scenes", "seal.key", "settings.json", "commands.db", "reserve"}
        wait_for(lambda: kept <= {one.name for one in state.glob("*")}, "the agent keeps its state", 90)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in", timeout=10) as page:
            assert page.status == 200
        for process in (agent, collector):
            assert process.stop() == 0
            assert not re.search("read-?only|Traceback", process.text(), re.IGNORECASE), process.text()[-2000:]


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
