"""What the center asks of a box, from the command line of the one to the cameras of the other: real processes."""

import gzip
import http.client
import json
import os
import pwd
import sqlite3
import sys
import tomllib
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np

from tests import boxes, clips
from tests.cameras import RtspCamera
from tests.services import BIN, Broker, Process, free_port, run, wait_for

AGENT, COLLECTOR = BIN / "cityeye-agent", BIN / "cityeye-collector"
WAITING = "SELECT count(*) FROM outgoing WHERE stored_s IS NULL AND parked IS NULL"
SHORT = """
import agent.wishes
from agent.start import main
from agent.runner import CameraRunner
agent.wishes.TRIAL_S = 5.0
look = CameraRunner.look
def look_unless_broken(self, frame):
    if self.camera.id == "broken":
        raise RuntimeError("no such luck")
    look(self, frame)
CameraRunner.look = look_unless_broken
main()
"""
"""The real agent, with short trials, and with a camera that its pipeline cannot bear."""


class Street:
    """Broker, collector and one box, with its command line."""

    def __init__(self, folder, clip, agent=(AGENT,)):
        self.folder = folder
        self.broker = Broker("mosquitto", folder / "broker")
        port = free_port()
        self.center_toml = folder / "center.toml"
        self.center_toml.write_text(
            f'version = 1\n[center]\nid = "c"\nlisten = "127.0.0.1:{port}"\n[broker]\nurl = "{self.broker.url}"\n'
        )
        self.port, self.collector_log = port, folder / "collector.log"
        self.collector = Process([COLLECTOR, "serve", "--settings", self.center_toml], self.collector_log, port)
        self.box_toml = boxes.settings(
            folder,
            {**boxes.FRONTAGE, "dwell_s": 3.0, "clear_s": 2.0},
            source=str(clip),
            camera={"learn_s": 4.0, "sample_s": 0.5},
            center=self.broker.url,
        )
        self.agent = Process([*agent, "run", "--settings", self.box_toml], folder / "agent.log")
        wait_for(lambda: self.camera_state("cam-1") == "live", "the camera has learned", 90)

    def db(self, query, *values):
        with closing(sqlite3.connect(f"file:{self.folder}/data/center.db?mode=ro", uri=True)) as db:
            return db.execute(query, values).fetchall()

    def camera_state(self, camera):
        try:
            rows = self.db("SELECT state FROM camera WHERE camera = ?", camera)
        except sqlite3.OperationalError:  # the collector has not made its tables yet
            return None
        return rows[0][0] if rows else None

    def page(self, path, fields=None):
        """A page of the center, or what a form of one answers: status, where it leads, body."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        kind = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
        line.request("GET" if fields is None else "POST", path, urlencode(fields or {}), kind)
        with closing(line), line.getresponse() as answer:
            return answer.status, answer.headers.get("location"), answer.read()

    def ask(self, *words, ok=True, typed=None):
        command = [COLLECTOR, *words, "--settings", self.center_toml]
        done = run(*command, typed=typed)
        assert ok is None or (done.returncode == 0) == ok, (done.stdout, done.stderr, self.agent.text()[-2000:])
        return done

    def command(self, *words, ok=True, typed=None):
        return json.loads(self.ask("command", "box-1", *words, "--json", ok=ok, typed=typed).stdout)

    def user(self):
        return pwd.getpwuid(os.getuid()).pw_name

    def history(self):
        """What `settings history` lists, without the time that a command takes to start."""
        rows = self.db("SELECT revision, by, based_on, state, errors FROM settings_wanted ORDER BY number DESC")
        names = ("revision", "by", "based_on", "state", "errors")
        return [dict(zip(names, (*row[:4], json.loads(row[4])), strict=True)) for row in rows]

    def set(self, file, ok=True):
        return json.loads(self.ask("settings", "set", "box-1", file, "--json", ok=ok).stdout)

    def standing(self):
        return json.loads((self.folder / "state" / "settings.json").read_text())

    def box_db(self, name, query):
        with closing(sqlite3.connect(self.folder / "state" / name)) as db:
            return db.execute(query).fetchall()

    def close(self):
        for process in (self.agent, self.collector):
            if process.process.poll() is None:
                process.kill()
        self.broker.kill()


@contextmanager
def at_street(folder, clip, agent=(AGENT,)):
    street = Street(folder, clip, agent)
    try:
        yield street
    finally:
        street.close()


def is_pixelated(picture):
    """As all of it is without a face model: neighbours are alike."""
    return np.abs(np.diff(picture[:, :15].astype(int), axis=1)).mean() < 2


def states(reply):
    return [place["state"] for place in reply["data"]["places"]]


def test_a_box_looks_now_and_says_what_it_sees(tmp_path, street):
    """A crate stands there from 16 s to 44 s of the clip."""
    with at_street(tmp_path, street) as here:
        reply = here.command("snapshot", "--camera", "cam-1", "--out", tmp_path / "out")
        assert (reply["state"], reply["by"]) == ("ok", here.user())
        (file,) = reply["files"]
        picture = cv2.imread(file)
        assert picture.shape == (clips.HEIGHT, clips.WIDTH, 3)
        assert is_pixelated(picture)
        (incident,) = wait_for(lambda: here.db("SELECT id FROM incident"), "the crate is reported", 60)[0]
        reply = here.command("verify", "--incident", incident, "--out", tmp_path / "out")
        assert states(reply) == ["occupied"]
        assert len(reply["files"]) == 2
        reply = here.command("verify", "--camera", "cam-1", "--zone", "front")
        assert states(reply)[0] == "occupied"
        assert reply["data"]["places"][0]["incident"] == incident
        wait_for(lambda: here.db("SELECT state FROM incident") == [("cleared",)], "it is taken away", 60)
        assert states(here.command("verify", "--incident", incident)) == ["clear"]
        # what the center has is sent again, and stored once
        before = here.db("SELECT count(*), count(DISTINCT id) FROM message")
        reply = here.command("resend", "--since", "2020-01-01T00:00:00Z")
        assert reply["data"]["messages"] >= 4
        wait_for(lambda: here.box_db("outbox.db", WAITING) == [(0,)], "all is acknowledged again")
        assert here.db("SELECT count(*), count(DISTINCT id) FROM message") == before
        reply = here.command("verify", "--incident", "no-such", ok=False)
        assert (reply["state"], reply["code"]) == ("failed", "unknown_incident")


def test_a_secret_a_scene_a_bundle_and_a_restart(tmp_path, street):
    with at_street(tmp_path, street) as here:
        password = 'ge"heim\\ ü7'
        reply = here.command("secret", "--name", "cam-1", "--user", "admin", typed=f"{password}\n")
        assert reply["state"] == "ok"
        secrets = tmp_path / "secrets.toml"
        assert secrets.stat().st_mode & 0o777 == 0o600
        assert tomllib.loads(secrets.read_text()) == {"cam-1": {"user": "admin", "password": password}}
        # neither it nor what it was sealed in stays at the center
        (row,) = here.db("SELECT args FROM command WHERE verb = 'secret'")
        assert json.loads(row[0]) == {"name": "cam-1"}

        assert here.command("scene", "--camera", "cam-1", "--zone", "front", "--action", "reset")["state"] == "ok"
        assert "the clear scene: reset, by order" in here.agent.text()
        reply = here.command("scene", "--camera", "cam-1", "--zone", "back", "--action", "reset", ok=False)
        assert (reply["state"], reply["code"]) == ("failed", "unknown_zone")

        reply = here.command("diagnostics", "--out", tmp_path / "out")
        bundle = json.loads(gzip.decompress(Path(reply["files"][0]).read_bytes()))
        assert bundle["cameras"]["cam-1"]["failures"] == 0
        assert any("secret cam-1 is set" in line for line in bundle["log"])
        assert password not in json.dumps(bundle, ensure_ascii=False)

        # the doctor, beside the running agent, and what else is asked meanwhile
        asked = here.command("examine", "--no-wait")["command"]
        assert here.command("snapshot", "--camera", "cam-1")["state"] == "ok"
        query = "SELECT data, by FROM command WHERE id = ? AND state = 'ok'"
        data, by = wait_for(lambda: here.db(query, asked), "the doctor's report", 60)[0]
        said = {one["name"]: one for one in json.loads(data)["findings"]}
        assert {"power", "disk", "clock", "detector", "writes"} <= said.keys()
        assert (said["center"]["says"], said["camera cam-1"]["state"]) == ("the agent is connected", "ok")
        assert by == here.user()
        assert here.agent.text().count("connected to") == 1, "it does not cut the line"

        pid = here.agent.process.pid
        reply = here.command("restart")
        assert reply["state"] == "ok"
        assert "running after" in reply["text"]
        assert (here.agent.process.pid, here.agent.process.poll()) == (pid, None)
        assert here.command("snapshot", "--camera", "cam-1")["state"] == "ok"
        assert here.agent.stop() == 0
        begun = here.box_db("commands.db", "SELECT verb, count(*) FROM command GROUP BY verb")
        assert dict(begun) == {"secret": 1, "scene": 2, "diagnostics": 1, "restart": 1, "snapshot": 2, "examine": 1}


def test_a_camera_is_added_by_its_address_after_a_test_picture(tmp_path, street):
    """Through the pages, at a real box with a real camera that wants a password."""
    with at_street(tmp_path, street) as here, RtspCamera(tmp_path / "rtsp", "admin", "p@ss:w/rd 7") as camera:

        def tried(**fields):
            fields = {"box": "box-1", "camera": "gate", "source": camera.url, "user": "admin", **fields}
            status, where, text = here.page("/admin/cameras/new", fields)
            assert status == 303, text

            def outcome():
                found = here.page(f"{where}?lang=en")[2].decode()
                return None if "The box is trying it" in found else (where, found)

            return wait_for(outcome, "the box answers", 40)

        other = camera.url.replace("/street", "/other")
        for fields, why in (
            ({"password": "wrong"}, "does not take this user and password"),
            ({"password": "p@ss:w/rd 7", "source": other}, "no such stream"),
            ({"source": f"rtsp://127.0.0.1:{free_port()}/x"}, "Nothing listens"),
            ({"user": "", "camera": "open"}, "does not take this user and password"),
        ):
            found = tried(**fields)[1]
            assert why in found, found[-3000:]
        where, found = tried(password="p@ss:w/rd 7")
        assert "It gives pictures" in found
        _, _, jpeg = here.page(f"/snapshots/{where.rpartition('/')[2]}/wide/960.jpg")
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert is_pixelated(picture)
        assert here.camera_state("gate") is None
        assert here.page(where, {})[:2] == (303, "/boxes/box-1")
        wait_for(lambda: here.camera_state("gate") in ("learning", "live"), "the box watches it", 40)
        assert "It is in the settings of its box" in here.page(f"{where}?lang=en")[2].decode()
        kept = [here.center_toml, here.collector_log, tmp_path / "agent.log", *(tmp_path / "data").glob("*.db*")]
        assert [one.name for one in kept if b"p@ss" in one.read_bytes() or b"p%40ss" in one.read_bytes()] == []


def test_settings_are_tried_kept_refused_and_taken_back(tmp_path, street):
    with at_street(tmp_path, street, (sys.executable, "-c", SHORT)) as here:
        (first,) = wait_for(here.history, "the box has told what it was set up with")
        assert (first["revision"], first["by"], first["state"]) == (1, "box", "applied")
        camera = json.loads(here.ask("settings", "show", "box-1").stdout)["camera"][0]

        def wanted(*cameras):
            file = tmp_path / "wanted.json"
            file.write_text(json.dumps({"version": 1, "camera": cameras}))
            return file

        # a second camera, and the first one goes on
        starts = here.agent.text().count("camera cam-1: starting")
        second = {**camera, "id": "cam-2"}
        assert here.set(wanted(camera, second))["state"] in ("pending", "applied")
        wait_for(lambda: here.history()[0]["state"] == "applied", "it was kept")
        wait_for(lambda: here.camera_state("cam-2") == "live", "the second camera has learned", 60)
        assert here.agent.text().count("camera cam-1: starting") == starts

        # what this box lacks, all of it
        bad = {**camera, "id": "cam-3", "source": "no-such.mp4"}
        refused = here.set(wanted(camera, bad, {**camera, "id": "cam-4", "credentials": "none"}), ok=False)
        assert refused["state"] == "rejected"
        assert [text.split(":")[0] for text in refused["errors"]] == ["camera cam-3", "camera cam-4"]
        done = here.ask("settings", "set", "box-1", wanted({**camera, "zone": [{"id": "x"}]}), ok=False)
        assert (done.returncode, "camera cam-1" in done.stderr) == (2, True)

        # one with which the agent cannot run
        here.set(wanted(camera, {**camera, "id": "broken"}), ok=None)
        broken = wait_for(lambda: here.history()[0]["state"] == "rolled_back" and here.history()[0], "it is taken back")
        assert "camera broken: its pipeline failed: RuntimeError: no such luck" in broken["errors"][0]
        wait_for(lambda: here.camera_state("broken") is None, "that camera is gone")
        wait_for(lambda: here.camera_state("cam-2") in ("learning", "live"), "what ran before runs again", 60)
        assert here.ask("settings", "show", "box-1").stderr.endswith("revision 2 is in force\n")


def test_an_edit_on_the_box_becomes_a_revision_or_a_conflict(tmp_path, street):
    with at_street(tmp_path, street) as here:
        wait_for(here.history, "the box has told what it was set up with")
        here.agent.stop()
        text = here.box_toml.read_text()
        here.box_toml.write_text(text.replace("dwell_s = 3.0", "dwell_s = 4.0"))
        here.agent.start()
        wait_for(lambda: len(here.history()) == 2, "it is told")
        made = [(one["revision"], one["by"], one["based_on"]) for one in here.history()]
        assert made == [(2, "box", 1), (1, "box", 0)]
        wait_for(lambda: here.standing()["now"]["revision"] == 2 and here.standing()["edit"] is None, "it is taken")

        # both change it while the line is down
        here.agent.stop()
        camera = json.loads(here.ask("settings", "show", "box-1").stdout)["camera"][0]
        file = tmp_path / "wanted.json"
        file.write_text(json.dumps({"camera": [{**camera, "learn_s": 5.0}]}))
        here.ask("settings", "set", "box-1", file, "--no-wait")
        here.box_toml.write_text(text.replace("dwell_s = 3.0", "dwell_s = 6.0"))
        here.agent.start()
        wait_for(lambda: len(here.history()) == 4, "both are known")
        assert [one["state"] for one in here.history() if one["revision"] is None] == ["conflict"]
        wait_for(lambda: here.standing()["now"]["revision"] == 3 and here.standing()["edit"] is None, "it is answered")
        assert here.standing()["now"]["document"]["camera"][0]["learn_s"] == 5.0
