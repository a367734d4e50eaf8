"""What the doctor says of a machine; another one is shown to it by folders that look like the kernel's."""

import socket

import pytest

from agent.box.doctor import Roots, examine_certificate, examine_machine, examine_way, fix
from agent.findings import Finding
from tests.services import free_port

GB = 1024**3
FINE = {"proc/meminfo": "MemTotal:        2000000 kB\n"}
PI = "sys/devices/platform/soc/soc:firmware/get_throttled"


def machine(folder, files):
    for name, text in {**FINE, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "sys").mkdir(exist_ok=True)
    return Roots(folder / "sys", folder / "proc")


@pytest.mark.parametrize(
    ("files", "name", "state", "says"),
    [
        ({}, "power", "ok", "does not tell"),
        ({PI: "0"}, "power", "ok", "is right"),
        ({PI: "50005"}, "power", "FAIL", "too low now"),
        ({PI: "50000"}, "power", "warn", "too low since the start"),
        ({PI: "2"}, "power", "warn", "slowed down"),
        ({PI: "garbage"}, "power", "ok", ""),
        ({"sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1\n"}, "power", "FAIL", "too low now"),
        ({"sys/class/hwmon/hwmon2/in0_lcrit_alarm": "0\n"}, "power", "ok", "is right"),
        ({}, "temperature", "ok", "does not tell"),
        ({"sys/class/thermal/thermal_zone0/temp": "61000"}, "temperature", "ok", "61 °C"),
        ({"sys/class/thermal/thermal_zone1/temp": "78000"}, "temperature", "warn", "78 °C"),
        ({"sys/class/thermal/thermal_zone0/temp": "91000"}, "temperature", "FAIL", "91 °C"),
        ({}, "memory", "ok", "2.0 GB"),
        ({"proc/meminfo": "MemTotal: 500000 kB"}, "memory", "warn", "0.5 GB"),
        ({"sys/block/mmcblk0/device/life_time": "0x01 0x01\n"}, "disk", "ok", "0 to 10 % of its life"),
        ({"sys/block/mmcblk0/device/life_time": "0x03 0x09\n"}, "disk", "warn", "80 to 90 % of its life"),
        ({"sys/block/mmcblk0/device/life_time": "0x0b 0x01\n"}, "disk", "warn", "worn out"),
        ({"sys/fs/ext4/mmcblk0p2/errors_count": "3\n"}, "disk", "warn", "mmcblk0p2: 3 errors"),
    ],
)
def test_each_thing_that_is_wrong_with_a_machine_is_named(tmp_path, files, name, state, says):
    found = [one for one in examine_machine(tmp_path, 0, machine(tmp_path, files)) if one.name == name]
    worst = max(found, key=lambda one: (("ok", "warn", "FAIL").index(one.state), says in one.says))
    assert worst.state == state
    assert says in worst.says
    assert (worst.todo == "") == (state == "ok"), "what is wrong comes with what to do"


NVME = '{"smart_status": {"passed": true}, "nvme_smart_health_information_log": {"percentage_used": %d}}'


@pytest.mark.parametrize(
    ("told", "state", "says"),
    [
        ("", None, ""),
        ('{"smart_status": {"passed": false}}', "FAIL", "it fails"),
        (NVME % 91, "warn", "91 % of its life"),
    ],
)
def test_what_a_disk_says_of_itself(tmp_path, told, state, says):
    roots = machine(tmp_path, {})
    (roots.sys / "block/nvme0n1").mkdir(parents=True)
    found = examine_machine(tmp_path, 0, roots, lambda command: told if command[-1] == "/dev/nvme0n1" else "")
    lines = [(one.state, one.code) for one in found if "nvme0n1" in one.says and says in one.says]
    assert [line[0] for line in lines] == ([] if state is None else [state])


def test_an_outbox_that_does_not_fit_the_disk_is_told_with_one_that_does(tmp_path):
    (finding, *_) = (one for one in examine_machine(tmp_path, 2**60, machine(tmp_path, {})) if one.name == "disk")
    assert finding.state == "warn"
    assert "or set outbox_mb to " in finding.todo


@pytest.mark.parametrize("reason", ["no name", "closed"])
def test_what_is_missing_on_the_way_is_named_and_what_comes_behind_it_is_not_tried(reason):
    host = "nobody.invalid" if reason == "no name" else "127.0.0.1"
    found = examine_way(host, free_port())
    names = ["DNS"] if reason == "no name" else ["DNS", "route", "MTU", "port"]
    assert [one.name for one in found] == names
    assert [one.state for one in found] == ["ok"] * (len(names) - 1) + ["FAIL"]


def test_a_way_that_is_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = examine_way(*listening.getsockname())
    assert {one.state for one in found} == {"ok"}
    assert examine_certificate(tmp_path) == [], "a box that is not enrolled has none"


def test_what_needs_no_decision_is_mended(tmp_path, monkeypatch):
    asked = []
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("")
    secrets.chmod(0o644)
    monkeypatch.setattr("agent.box.doctor.kernel_synchronised", lambda: False)
    found = fix(secrets, 0, lambda command: asked.append(command) or True)
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert asked == [("timedatectl", "set-ntp", "true")]
    assert [one.name for one in found] == ["secrets", "clock"]
    assert fix(secrets, 1000, lambda _command: pytest.fail("only root sets the clock")) == []


def test_a_finding_is_one_line():
    assert Finding("disk", "warn", "little", "free some").line() == "warn  disk: little → free some"
