"""The command line: what is wrong is told in one line, and the exit status says which kind it is."""

import resource
import signal
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from tests import boxes, clips, networks
from tests.services import BIN, Process, free_port, run, wait_for

AGENT = BIN / "cityeye-agent"


def zone(**changes):
    return {**boxes.FRONTAGE, **changes}


BAD_SETTINGS = [
    # what is written, what the line must say
    (lambda f: boxes.settings(f, zone(polygon=[[0, 0], [1, 1]])), "polygon: expected at least 3 corners, got 2"),
    (lambda f: boxes.settings(f, zone(polygon=[[0, 0], [1, 1], [1, 0], [0, 1]])), "sides 1 and 3 cross each other"),
    (lambda f: boxes.settings(f, zone(polygon=[[0, 0], [1.2, 0], [1, 1]])), "between 0 and 1"),
    (lambda f: boxes.settings(f, zone(dwel_s=3)), "unknown key 'dwel_s'; the nearest known one is 'dwell_s'"),
    (lambda f: boxes.settings(f, zone(dwell_s=-1)), "dwell_s"),
    (lambda f: boxes.settings(f, zone(kind="roof")), "frontage"),
    (lambda f: boxes.settings(f, zone(active=["Mo-Xx 25:00"])), "active"),
    (lambda f: boxes.settings(f, source="rtsp://admin:geheim-99@10.0.0.5/a"), "without user and password"),
    (lambda f: boxes.settings(f, zone(), zone()), "two zones of this camera have the id 'front'"),
    (lambda f: boxes.settings(f, camera={"id": "Kamera Eins"}), "id"),
    (lambda f: f / "missing.toml", "expected a settings file, found none"),
    (lambda f: f, "expected TOML"),
]


def write(folder, text):
    path = folder / "box.toml"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(("make", "expected"), BAD_SETTINGS)
@pytest.mark.parametrize("command", ["run", "check", "replay"])
def test_bad_settings_get_one_line_and_exit_2(tmp_path, street, command, make, expected):
    path = make(tmp_path)
    done = run(AGENT, command, *([street] if command == "replay" else []), "--settings", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert str(path) in done.stderr
    assert "geheim-99" not in done.stderr


@pytest.mark.parametrize(
    "text", [b"version = 2", b"", b"\xff\xfe", b"version = 1\n[box", b"version = 1\n[box]\nid='a'\nsite='s'\n[x]"]
)
def test_damaged_settings_get_one_line(tmp_path, text):
    done = run(AGENT, "check", "--settings", write(tmp_path, text))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.avi", None, "expected a video file, found none"),
        ("text.avi", b"hello\n" * 99, "expected a video that FFmpeg can read"),
    ],
)
def test_a_clip_that_is_none_gets_one_line_and_exit_2(tmp_path, name, content, expected):
    if content:
        (tmp_path / name).write_bytes(content)
    done = run(AGENT, "replay", tmp_path / name, "--settings", boxes.settings(tmp_path, boxes.FRONTAGE))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr


def test_a_camera_whose_file_is_missing_gets_one_line_and_exit_2(tmp_path):
    done = run(AGENT, "run", "--settings", boxes.settings(tmp_path, boxes.FRONTAGE, source="none.mp4"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "camera cam-1: source: " in done.stderr.splitlines()[-1]
    assert "none.mp4: expected a video file, found none" in done.stderr


@pytest.mark.parametrize("command", ["run", "replay"])
@pytest.mark.parametrize("kind", ["text", "layout", "missing"])
def test_a_detector_that_is_none_gets_one_line_and_exit_2(tmp_path, street, command, kind):
    model = tmp_path / "net.onnx"
    if kind == "text":
        model.write_text("this is text\n" * 50)
    elif kind == "layout":
        networks.fixed(model, np.zeros((1, 3, 3)))
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street), model="net.onnx")
    done = run(AGENT, command, *([street] if command == "replay" else []), "--settings", settings)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "net.onnx: expected" in done.stderr


def test_a_named_detector_that_is_not_at_hand_is_told_and_the_rest_works(tmp_path, street):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, boxes.GATHERING, model="yolo26n-640")
    done = run(AGENT, "replay", street, "--settings", settings, CITYEYE_MODELS=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("\n") >= 1
    assert "detector 'yolo26n-640': expected yolo26n-640.onnx in" in done.stderr
    assert done.stderr.count("until then street-person is used, which ships with the project") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--camera", "cam-9"], "--camera: expected one of cam-1, got 'cam-9'"),
        (["--start", "yesterday"], "--start: expected an instant"),
        (["--out", "/nowhere/x.jsonl"], "--out /nowhere/x.jsonl: expected a file that can be written"),
    ],
)
def test_bad_options_get_one_line_and_exit_2(tmp_path, street, arguments, expected):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE)
    done = run(AGENT, "replay", street, "--settings", settings, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


def test_check_says_one_line_for_each_part(tmp_path, street, broker):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street), center=broker.url)
    done = run(AGENT, "check", "--settings", settings)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].split()[:2] for line in lines] == [
        ["ok", "settings"],
        ["ok", "state"],
        ["ok", "detector"],
        ["ok", "camera"],
        ["ok", "center"],
    ]
    assert "640x360, h264, 10 frames a second" in lines[3]


@pytest.mark.parametrize(
    ("left", "code", "words"), [(0, 0, "; the same view"), (160, 1, "set the sub-stream to the same channel")]
)
def test_check_compares_a_sub_stream_with_its_camera(tmp_path, street, left, code, words):
    clips.write(tmp_path / "sub.mp4", lambda t: cv2.resize(clips.street_frame(t)[:, left:], (640, 360)), 12, gop=10)
    camera = {"substream": "sub.mp4"}
    done = run(AGENT, "check", "--settings", boxes.settings(tmp_path, source=str(street), camera=camera))
    assert done.returncode == code
    (line,) = [line for line in done.stdout.splitlines() if "sub-stream cam-1" in line]
    assert words in line


def test_check_fails_with_1_for_camera_detector_and_center(tmp_path):
    center = f"mqtt://127.0.0.1:{free_port()}"
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source="none.mp4", model="nothing", center=center)
    done = run(AGENT, "check", "--settings", settings)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "ok", "FAIL", "FAIL", "FAIL"]


def test_a_secret_is_looked_up_and_never_shown(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listening.close()
        settings = boxes.settings(tmp_path, source=f"rtsp://127.0.0.1:{port}/a", camera={"credentials": "cam-1"})
        done = run(AGENT, "check", "--settings", settings)
        assert "expected CITYEYE_CREDENTIALS_CAM_1=user:password" in done.stdout
        done = run(AGENT, "check", "--settings", settings, CITYEYE_CREDENTIALS_CAM_1="admin:geheim-99")
        assert "nothing listens there" in done.stdout
        assert "geheim-99" not in done.stdout + done.stderr
        secrets = tmp_path / "secrets.toml"
        secrets.write_text('[cam-1]\nuser = "admin"\npassword = "geheim-99"\n')
        done = run(AGENT, "check", "--settings", settings)
        assert "only its owner can read; run: chmod 600" in done.stdout
        secrets.chmod(0o600)
        done = run(AGENT, "check", "--settings", settings)
        assert "nothing listens there" in done.stdout


def test_two_agents_do_not_share_a_state_folder(tmp_path, street):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))
    with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as first:
        wait_for(lambda: ": live" in first.text(), "the first one works")
        done = run(AGENT, "run", "--settings", settings)
        assert done.returncode == 2
        assert "expected to be the only agent here" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_agent_stops_in_order_and_takes_its_readers_with_it(tmp_path, street, number):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))
    with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:
        wait_for(lambda: ": live" in agent.text(), "it works")
        readers = children(agent.process.pid)
        assert readers
        agent.send(number)
        assert agent.process.wait(5) == 0
        assert "stopping" in agent.text()
        assert "Traceback" not in agent.text()
        wait_for(lambda: not any(alive(pid) for pid in readers), "no reader is left", 3)


def test_a_killed_agent_leaves_no_reader(tmp_path, street):
    settings = boxes.settings(tmp_path, boxes.FRONTAGE, source=str(street))
    with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:
        wait_for(lambda: ": live" in agent.text(), "it works")
        readers = children(agent.process.pid)
        agent.kill()
        wait_for(lambda: not any(alive(pid) for pid in readers), "no reader is left", 3)


def test_a_full_disk_stops_nothing(tmp_path, street):
    """Files cannot grow beyond a few KB: the agent says so and goes on watching."""
    settings = boxes.settings(tmp_path, {**boxes.FRONTAGE, "dwell_s": 2.0}, source=str(street), camera={"learn_s": 5.0})
    with Process([AGENT, "run", "--settings", settings], tmp_path / "log") as agent:
        wait_for(lambda: ": live" in agent.text(), "it works")
        # memory that is shared with its readers counts as a file, and is there by now
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (60 * 1024, 60 * 1024))
        wait_for(lambda: "kept in memory" in agent.text() or "cannot be kept" in agent.text(), "it tells", 60)
        assert agent.process.poll() is None
        time.sleep(2)
        assert agent.process.poll() is None


def test_the_outbox_says_what_is_parked_and_has_it_tried_again(tmp_path, street):
    settings = boxes.settings(tmp_path, source=str(street))
    assert "there is none yet" in run(AGENT, "outbox", "--settings", settings).stdout
    (tmp_path / "state").mkdir()
    outbox = Outbox(tmp_path / "state" / "outbox.db", lambda: 1000.0)
    message = Outgoing("i:1", "incident", "t", b"payload", "c")
    with outbox.sealing() as ledger:
        ledger.commit(IncidentRow("i", "cam-1", "z", "r", "p", True, "{}"), [message], None)
    outbox.park("i:1", "refused by the broker: Not authorized")
    told = run(AGENT, "outbox", "--settings", settings)
    assert told.returncode == 0, told.stderr
    assert "1 parked" in told.stdout
    assert "i:1  1970-01-01T00:16:40.000Z  7 bytes  refused by the broker: Not authorized" in told.stdout
    assert "of 2048 MB" in told.stdout
    assert outbox.due(1, 100) == []
    # beside a running agent: another process has the file open
    assert "1 are tried again" in run(AGENT, "outbox", "--retry", "--settings", settings).stdout
    assert outbox.due(1, 100) == [message]
    outbox.close()


def children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted({int(child) for task in tasks for child in (task / "children").read_text().split()})


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
