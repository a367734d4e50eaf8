"""SIGKILL in the middle of the demo: every incident ends up in exactly one ticket, with its pictures."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import sys
import urllib.request
from functools import partial

import pytest

from tests.services import ROOT, Process, wait_for


def pid_of(name, text):
    """The last process id that the demo printed for a service."""
    found = re.findall(rf"{name}\s+pid (\d+)", text)
    return int(found[-1]) if found else None


def is_up(text, agent_log, lines, lives):
    """Whether the center answers and is connected, and the agent's line and its camera have come up so often."""
    health = re.search(r"open (\S+)", text)[1] + "healthz"
    with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=3) as answer:  # noqa: S310 - on loopback
        said = agent_log.read_text("utf-8")
        return json.load(answer)["ok"] and said.count("connected to") >= lines and said.count(": live") >= lives
    return False


@pytest.mark.timeout(400)
def test_killed_in_the_middle_of_the_demo(tmp_path, vtest):
    command = [
        sys.executable,
        ROOT / "deploy/demo/run.py",
        "--video",
        vtest,
        "--once",
        "--dir",
        tmp_path,
        "--port",
        "0",
    ]
    with Process(command, tmp_path / "demo.log", CITYEYE_MODELS="") as demo:
        wait_for(lambda: "all services are up" in demo.text() or demo.process.poll() is not None, "it runs", 120)
        # twice each: before there is a ticket, and while the shop's incident goes on
        lines = lives = 1
        for moment in ("all services are up", "encroachment: opened"):
            wait_for(lambda m=moment: m in demo.text(), moment, 90)
            for victim in ("broker", "collector", "agent"):
                os.kill(pid_of(victim, demo.text()), signal.SIGKILL)
                lines += victim != "collector"
                lives += victim == "agent"
                up = partial(is_up, agent_log=tmp_path / "logs/agent.log", lines=lines, lives=lives)
                wait_for(lambda up=up: up(demo.text()), f"all are up after {victim}", 60)
        assert demo.process.wait(240) == 0, demo.text()
    for victim in ("broker", "collector", "agent"):
        assert demo.text().count(f"{victim} ended (-9)") == 2
    check_books(tmp_path)


def check_books(folder):
    """Compare what the box remembers with what the center has."""
    box = sqlite3.connect(folder / "box/outbox.db")
    center = sqlite3.connect(folder / "center/center.db")
    states = [json.loads(state) for (state,) in box.execute("SELECT state FROM incident")]
    assert states
    tickets = dict(center.execute("SELECT id, ticket_number FROM incident").fetchall())
    keys = center.execute("SELECT key FROM ticket WHERE open = 1").fetchall()
    assert len(keys) == len(set(keys))
    waiting = {one for (one,) in box.execute("SELECT id FROM outgoing WHERE stored_s IS NULL")}
    assert box.execute("SELECT count(*) FROM outgoing WHERE parked IS NOT NULL").fetchone() == (0,)
    assert {state["incident"] for state in states} == set(tickets)
    for state in states:
        incident = state["incident"]
        rows = center.execute("SELECT seq FROM message WHERE incident = ?", (incident,)).fetchall()
        seqs = [seq for (seq,) in rows]
        # the last one, of the shutdown, may still be on the box, or its acknowledgement on the way
        own = [one for one in waiting if one.startswith(incident) and one.count(":") == 1]
        missing = {int(one.rpartition(":")[2]) for one in own}
        assert {*seqs, *missing} == set(range(1, state["seq"] + 1))
        assert len(seqs) == len(set(seqs))
        here = {one for (one,) in center.execute("SELECT sha256 FROM picture WHERE incident = ?", (incident,))}
        assert state["evidence"]
        for picture in state["evidence"]:
            # what the box still waits to be told of is on its way
            assert picture["sha256"] in here or any(picture["sha256"] in one for one in waiting)
            path = folder / "center/evidence" / picture["sha256"][:2] / f"{picture['sha256']}.jpg"
            assert path.stat().st_size == picture["bytes"]
    box.close()
    center.close()
