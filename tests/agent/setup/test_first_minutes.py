"""From the PIN to the first test incident, at a telephone's size; and a box that nobody has claimed yet."""

import contextlib
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.box.card import apply
from agent.box.door import Door
from agent.box.network import Address
from agent.setup import finding, watch
from collector.boxes.door import Door as Enrolment
from collector.boxes.enrolment import Desk
from protocol.enrolment import plate_of
from tests import clips
from tests.browser import PHONE, check, chromium
from tests.cameras import RtspCamera
from tests.fleet import AGENT
from tests.phone import Phone, page
from tests.services import Process, answers, free_port, wait_for

EMPTY_S = 9.0
PAVEMENT = clips.pavement()
LOGIN = {"user": "admin", "password": "right-1"}


def putting_down(t):
    """The pavement, and a crate that somebody puts there."""
    picture = PAVEMENT.copy()
    if t >= EMPTY_S:
        clips.put(picture, clips.crate(), 320, 180)
    return picture


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    with RtspCamera(folder, *LOGIN.values(), putting_down, 30, anew=True) as camera:
        yield camera


def unclaimed(folder, port=8443):
    folder.mkdir(exist_ok=True)
    path = folder / "box.toml"
    path.write_text(f'version = 1\n[box]\n[setup]\naddress = "127.0.0.1"\nport = {port}\nopen_file = "open"\n')
    return path


def tap(page, polygon):
    """Tap corners on the board, and Finish."""
    board = page.locator("#board").bounding_box()
    for x, y in polygon:
        page.touchscreen.tap(board["x"] + x * board["width"], board["y"] + y * board["height"])
    page.click('[data-do="finish"]')


def test_an_installer_comes_from_the_pin_to_a_test_incident(fleet, camera, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LEARN_S", 4.0)
    monkeypatch.setattr(watch, "DWELL_S", 4.0)
    settings = unclaimed(tmp_path)
    near = Address("lo", "127.0.0.2", 30)
    served = page(settings, look_s=2.0, finder=lambda: finding.find((camera.port,), lambda: [near], 0.1))
    size = {"width": PHONE[0], "height": PHONE[1]}
    with chromium() as browser, served as phone:
        context = browser.new_context(viewport=size, locale="zh-CN", has_touch=True, ignore_https_errors=True)
        shown, faults = context.new_page(), []
        shown.on("console", lambda said: said.type in ("error", "warning") and faults.append(said.text))
        shown.on("pageerror", lambda fault: faults.append(str(fault)))
        shown.set_default_timeout(60_000)
        shown.goto(f"https://127.0.0.1:{phone.port}/#pin={phone.pin}")
        shown.click("#enter button")
        shown.wait_for_selector("#network dd")
        check(shown, faults)
        shown.click('#network [data-go="claim"]')
        (claim,) = fleet.claims()
        shown.fill("#claim textarea", str(fleet.invitation(claim)))
        shown.click("#claim button")
        shown.wait_for_selector("#claim dt")
        shown.click("#claim .ways button")
        shown.click("#find")
        shown.click(f"#found button:has-text(':{camera.port}')")
        shown.fill('[name="user"]', "admin")
        shown.fill('[name="password"]', "wrong-1")
        shown.click("#camera form > button")
        shown.wait_for_selector("#tested .FAIL:has-text('用户名或密码不对')")
        shown.fill('[name="password"]', LOGIN["password"])
        shown.click("#camera form > button")
        shown.wait_for_selector("#tested .ok")
        check(shown, faults)
        shown.click("#use")
        shown.wait_for_selector("#picture img")
        shown.wait_for_function("() => document.querySelector('meter').value > 0")
        check(shown, faults)
        shown.click('#picture [data-go="zones"]')
        shown.wait_for_selector("#board image")
        shown.click('[data-draw="frontage"]')
        tap(shown, [(0.4, 0.4), (0.75, 0.4), (0.75, 0.85), (0.4, 0.85)])
        check(shown, faults)
        shown.click("#save")
        shown.wait_for_selector("#reports img", timeout=90_000)
        check(shown, faults)
        assert "✓ 试验事件：front-1" in shown.text_content("#trial .said")
        shown.click('#trial [data-go="leave"]')
        shown.click("#finish")
        shown.wait_for_selector("#finished:has-text('设置完毕')")
        (drawn,) = phone.door.waiting()[0].camera
        assert (drawn.id, drawn.credentials, drawn.zone[0].id) == ("cam-1", "cam-1", "front-1")
        assert drawn.source == f"rtsp://127.0.0.1:{camera.port}/stream1"
        assert drawn.zone[0].dwell_s == 180, "the test's times are the test's"
        assert LOGIN["password"] not in shown.content()
        told = shown.evaluate("fetch('/api/state').then((one) => one.text())")
        assert "stream1" in told
        assert LOGIN["password"] not in told


def listening(pid):
    """Ports at which a process and its children listen, as the kernel tells it; UDP as well."""
    family = [pid]
    for one in family:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            family += map(int, task.read_text().split())
    held = set()
    for one in family:
        for link in Path(f"/proc/{one}/fd").glob("*"):
            with contextlib.suppress(OSError):
                held.add(link.readlink().name)
    ports = []
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state and f"socket:[{fields[9]}]" in held:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_a_box_that_nobody_has_claimed_serves_the_page_and_then_watches_without_a_port(fleet, camera, tmp_path):
    port = free_port()
    settings = unclaimed(tmp_path, port)
    door = Door(tmp_path / "state", time.time)
    with Process([AGENT, "run", "--settings", settings], tmp_path / "agent.log") as agent:
        wait_for(lambda: answers(port), "the page is served", 60)
        phone = Phone(port)
        phone.post("/api/enter", pin=door.plate.pin)
        (claim,) = fleet.claims()
        phone.job("claim", label=str(fleet.invitation(claim)))
        assert phone.get("/api/state")["member"]["site"] == "xiaohe"
        wait_for(lambda: "connected to" in agent.text(), "the agent runs", 40)
        assert {port, 5353} <= set(listening(agent.process.pid))
        phone.post("/api/camera", id="cam-1", source=camera.url, **LOGIN)
        wait_for(lambda: "camera cam-1: live" in agent.text(), "it watches what was set up", 30)
        assert door.waiting() is None
        found = phone.job("doctor")
        assert "盒子已连上中心" in [one["zh"]["says"] for one in found], found
        assert agent.text().count("connected to") == 1, "the doctor did not cut the agent's line"
        phone.post("/api/finish")
        door._keep(replace(door.plate, until_s=time.time() - 1))
        wait_for(lambda: "the page is shut" in agent.text(), "it shuts itself off")
        wait_for(lambda: not listening(agent.process.pid), "no port is left")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 2)
        assert agent.process.poll() is None
        assert agent.text().count("camera cam-1: live") == 1
        assert agent.stop() == 0
    assert LOGIN["password"] not in agent.text()
    assert door.plate.pin not in agent.text()


def test_a_box_claims_itself_by_its_card_as_soon_as_the_center_answers(fleet, tmp_path):
    port, center = free_port(), free_port()
    settings, (claim,) = unclaimed(tmp_path, port), fleet.claims()
    settings.write_text(f'{settings.read_text()}run_dir = "{tmp_path}/run/cityeye"\n')
    label = replace(fleet.invitation(claim), url=f"https://127.0.0.1:{center}")
    (tmp_path / "cityeye.toml").write_text(f'[claim]\nlabel = "{label}"\n[netwrok]\nvlan = 1\n')
    (fault,) = apply(tmp_path, tmp_path / "run")
    path = tmp_path / "run/cityeye/agent/standing.json"
    with Process([AGENT, "run", "--settings", settings], tmp_path / "agent.log") as agent:
        wait_for(lambda: answers(port) and path.exists() and '"silent"' in path.read_text(), "it has tried", 60)
        told = json.loads(path.read_text())
        name, pin = plate_of(claim.code)
        assert (told["page"], told["pin"]) == (f"https://cityeye-{name}.local:{port}/", pin), "as its label says"
        phone = Phone(port)
        phone.post("/api/enter", pin=told["pin"])
        state = phone.get("/api/state")
        assert state["card"]["faults"] == [fault.values()]
        assert "expected the center to answer" in state["claim"]["fault"]
        desk = Desk(fleet.store, fleet.authority, fleet.line.url, 365, time.time)
        door = Enrolment(("127.0.0.1", center), desk, fleet.authority.pem, fleet.folder / "ca")
        door.start()
        wait_for(
            lambda: f'"box": "{claim.box}"' in path.read_text() and '"connected": true' in path.read_text(), "in", 60
        )
        door.stop()
        assert phone.get("/api/state")["member"]["box"] == claim.box
        assert agent.stop() == 0
    assert claim.code not in agent.text()
