"""Administration: tables of codes, retention, webhooks, tokens, detectors, a camera by its address."""

import base64
import html
import json
import os
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select, update

from collector.boxes import orders, rollouts, systems, wanted
from collector.boxes.authority import Authority
from collector.evidence import retention
from collector.evidence.settings import EvidenceSection
from collector.exchange import webhooks
from collector.exchange.courier import line_to
from collector.people import tokens
from collector.people.actor import SYSTEM, Grant
from collector.store import (
    AuditRow,
    Box,
    CommandRow,
    DeliveryRow,
    PersonRow,
    PictureRow,
    SettingsRow,
    Ticket,
    TicketEvent,
    WebhookRow,
)
from collector.web import admin_pages, camera_pages
from protocol.commands import Login
from protocol.sealed import open_secret
from protocol.settings import read_document
from protocol.systems import SystemReported
from tests import town
from tests.collector.conftest import Desk
from tests.collector.exchange.test_webhooks import HOME, Receiver
from tests.people import bearer, browser, make_gate, make_pages, now_ms, sign_in
from tests.rollouts import bundle

SECRET = "p@ss:w/rd 7"
ADDRESS = "rtsp://10.0.0.5:554/main"
ROOT = "/admin/webhooks"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    found = Desk(tmp_path_factory.mktemp("center"))
    town.fill(found)
    yield found
    found.store.close()


@pytest.fixture
def admin(desk, monkeypatch):
    """Pages as an admin sees them; receivers of webhooks are on this machine."""
    line = line_to(HOME, None, 2.0)
    monkeypatch.setattr("collector.web.webhook_pages.line_to", lambda _networks, _proxy: line)
    client = browser(make_pages(desk, gate=make_gate(desk.store, second_factor="optional")))
    sign_in(desk.store, "zhao", client)
    return client


def actions(desk, of):
    with desk.store.transaction() as session:
        query = select(AuditRow.action).where(AuditRow.object == of).order_by(AuditRow.number)
        return list(session.scalars(query))


@pytest.mark.parametrize(
    ("person", "seen"),
    [
        ("sun", {"", "/codes", "/retention", "/detectors", "/systems", "/tokens"}),
        ("li", {"/detectors", "/systems"}),
        ("wang", {"/detectors", "/systems"}),
    ],
)
def test_each_role_comes_to_what_its_rights_are_good_for(desk, admin, person, seen):
    parts = ("", "/codes", "/retention", "/detectors", "/systems", "/tokens", "/webhooks", "/cameras/new")
    assert all(admin.get(f"/admin{one}").status_code == 200 for one in parts)
    sign_in(desk.store, person, admin)
    assert {one for one in parts if admin.get(f"/admin{one}").status_code == 200} == seen


def test_a_table_of_ones_own_is_named_with_its_date_and_its_faults(admin, tmp_path, monkeypatch):
    table = replace(admin_pages.TABLES[0], own=tmp_path / "events.toml")
    monkeypatch.setattr(admin_pages, "TABLES", (table,))

    def seen():
        return html.unescape(admin.get("/admin/codes?lang=en").text)

    assert "As the program has it" in seen()
    assert "无照经营游商" in seen()
    shipped = (admin_pages.files("cityeye_config") / "codes" / "events.toml").read_text("utf-8")
    table.own.write_text(shipped.replace("无照经营游商", "本市游商"), "utf-8")
    os.utime(table.own, (1_700_000_000, 1_700_000_000))
    assert "The center's own" in seen()
    assert "本市游商" in seen()
    assert "15 Nov 2023" in seen()
    os.utime(table.own, (4_000_000_000, 4_000_000_000))
    assert "Changed, not in force yet" in seen()
    table.own.write_text(shipped.replace('"0501"', '"9901"'), "utf-8")
    assert "Cannot be used" in seen()
    assert "expected its class 99 among [classes]" in seen()


def test_retention_shows_what_is_due_what_is_held_and_what_was_done(desk, admin):
    periods = EvidenceSection()
    with desk.store.writing() as session:
        long_ms = 9_000_000_000
        session.execute(update(PictureRow).values(received_ms=PictureRow.received_ms - long_ms))
        session.execute(update(Ticket).values(changed_ms=Ticket.changed_ms - long_ms, closed_ms=None))
        retention.hold(session, town.person("operator"), 3, "法院调证", now_ms(), on=True)
        due = sum(len(one.pictures) for one in retention.plan(session, periods, now_ms()))
    assert due > 2
    page = html.unescape(admin.get("/admin/retention?lang=en").text)
    assert sum(map(int, re.findall(r'<b class="number">(\d+)</b> pictures?', page))) == due
    assert "法院调证" in page
    with desk.store.writing() as session:
        detail = {"deleted": 5, "strays": 1, "copies": {"/copies/a": 4}, "ledger": "0"}
        retention.audit.record(session, SYSTEM, retention.RETAINED, "evidence/*", detail, now_ms())
    page = admin.get("/admin/retention?lang=en").text
    assert "5 pictures deleted, 1 files that nothing names" in page
    sign_in(desk.store, "sun", admin)  # of one street: what is held there, nothing that is of all
    page = html.unescape(admin.get("/admin/retention?lang=en").text)
    assert "法院调证" in page
    assert "5 pictures deleted" not in page


@pytest.fixture
def receiver():
    with Receiver() as found:
        yield found
        found.shutdown()


def test_a_webhook_is_added_tried_paused_given_another_secret_and_removed(desk, admin, receiver):
    added = admin.post(ROOT, data={"url": receiver.url, "street": town.STREET, "kinds:confirm": "1"})
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", html.unescape(added.text))
    with desk.store.transaction() as session:
        row = session.scalars(select(WebhookRow)).one()
    at = f"{ROOT}/{row.id}"
    assert (row.kinds, row.street) == ("confirm", town.STREET)
    assert "whsec_" not in admin.get(at).text
    assert "took the test message" in admin.post(f"{at}?lang=en", data={"what": "test"}).text
    (headers, body) = receiver.came.pop()
    assert json.loads(body)["type"] == "cityeye.webhook.test"
    signed = webhooks.sign(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == f"v1,{signed}"
    receiver.answer = 500
    assert "did not take the test message" in admin.post(f"{at}?lang=en", data={"what": "test"}).text
    admin.post(at, data={"what": "pause"})
    with desk.store.writing() as session:
        event = session.scalar(select(func.max(TicketEvent.id)))
        line = {"state": "parked", "tries": 0, "due_ms": 0, "done_ms": 1, "said": webhooks.STOPPED}
        session.add(DeliveryRow(webhook_id=row.id, event_id=event, **line))
    assert "Stopped" in admin.get(f"{at}?lang=en").text
    admin.post(at, data={"what": "resume"})
    with desk.store.transaction() as session:
        assert session.get_one(WebhookRow, row.id).active == 1
        assert session.get_one(DeliveryRow, (row.id, event)).state == "waiting"
    seen = re.search(r'name="seen" value="(\w+)"', admin.get(at).text)[1]
    rotated = admin.post(at, data={"what": "rotate", "seen": seen})
    (new,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", html.unescape(rotated.text))
    assert new != secret
    again = admin.post(at, data={"what": "rotate", "seen": seen})  # F5
    assert again.status_code == 422
    assert "whsec_" not in again.text
    assert admin.post(at, data={"what": "remove"}).headers["location"] == f"{ROOT}?done=ended"
    assert admin.get(at).status_code == 404
    done = [one.removeprefix("webhook.") for one in actions(desk, f"webhook/{row.id}")]
    assert done == ["add", "test", "test", "pause", "resume", "rotate", "remove"]
    wrong = admin.post(ROOT, data={"url": "http://example.cn/"})
    assert wrong.status_code == 422
    assert "http://example.cn/" in wrong.text


def test_all_tokens_are_listed_one_is_ended_and_a_program_gets_one(desk, admin):
    with desk.store.writing() as session:
        made = tokens.make(session, SYSTEM, "li", "大屏", [Grant.read("operator@xiaohe")], 9, now_ms())
    assert made.id in admin.get("/admin/tokens").text
    assert admin.post("/admin/tokens/revoke", data={"token": made.id}).status_code == 303
    with desk.store.transaction() as session:
        assert tokens.read(session, made.text, now_ms()) is None
    wish = {"program": "svc-hall", "token": "市级平台", "role": "viewer", "street": "xiaohe", "days": "30"}
    assert admin.post("/admin/tokens", data=wish | {"password": "wrong"}).status_code == 422
    answer = admin.post("/admin/tokens", data=wish | {"password": town.PASSWORD})
    (key,) = re.findall(r"cet_\w{12}_[\w-]{43}", answer.text)
    assert key not in admin.get("/admin/tokens").text
    with desk.store.transaction() as session:
        found = tokens.read(session, key, now_ms())
        assert (found.actor.id, found.actor.grants) == ("svc-hall", frozenset({Grant.read("viewer@xiaohe")}))
        assert session.get_one(PersonRow, "svc-hall").password is None
    # in a person's name nobody makes one, and a token makes none
    assert admin.post("/admin/tokens", data=wish | {"program": "li", "password": town.PASSWORD}).status_code == 422
    with_token = browser(admin.app)
    headers = bearer(desk.store, "zhao")
    assert with_token.post("/admin/tokens", data=wish, headers=headers).status_code == 403


def test_detectors_are_those_that_boxes_reported(admin):
    page = admin.get("/admin/detectors?lang=en").text
    found = re.findall(
        r'href="/boxes/([\w-]+)".*?data-label="Detector">(.*?)</td>.*?class="mono">(\w*)</td>', page, re.DOTALL
    )
    assert ("xiaohe-3", "yolox-s", "ab" * 8) in found
    assert any(box == "xiaohe-2" and "not known" in name for box, name, _ in found)


def test_a_detector_is_rolled_out_and_stopped_from_its_page(desk, admin, tmp_path):
    with desk.store.writing() as session:
        session.get_one(Box, "xiaohe-1").standing = "enrolled"
        wanted = {"name": "street-2", "boards": ["*"], "replaces": ["*"]}
        authority = Authority.create(tmp_path / "ca", "xiaohe", now_ms() / 1000)
        rollouts.add(session, authority, SYSTEM, b"a network", wanted, now_ms())
    page, begin = "/admin/detectors", {"name": "street-2", "steps": "10，100", "most": "10"}
    for wrong in ({"steps": "10,x"}, {"most": ""}, {"name": "other"}):
        assert admin.post(page, data=begin | wrong).status_code == 422
    assert admin.post(page, data=begin).status_code == 303
    for language, words in (("zh", "每组允许失败的百分比"), ("en", "stops where more than 10 % of a group refuse it")):
        seen = admin.get(f"{page}?lang={language}").text
        assert (words in seen, "xiaohe-1" in seen) == (True, True)
    sign_in(desk.store, "li", admin)
    assert "Roll a detector out" not in admin.get(f"{page}?lang=en").text
    assert admin.post(page, data={"stop": "1"}).status_code == 403
    sign_in(desk.store, "zhao", admin)
    assert admin.post(page, data={"stop": "1"}).status_code == 303
    assert actions(desk, "rollout/1") == ["rollout.start", "rollout.stop"]


def test_a_system_is_rolled_out_from_its_page_to_boxes_of_its_board(desk, admin, tmp_path):
    page, begin = "/admin/systems", {"name": "cityeye-amd64 0.2.0", "steps": "100", "most": "10"}
    assert "No box has said" in admin.get(f"{page}?lang=en").text
    systems.add(desk.store, SYSTEM, bundle(tmp_path / "b"), tmp_path / "systems", now_ms())
    assert admin.post(page, data=begin).status_code == 422
    had = {"version": "0.1.0", "slot": "a", "compatible": "cityeye-amd64", "trial": False, "state": "none"}
    with desk.store.writing() as session:
        box = session.get_one(Box, "xiaohe-1")
        box.standing, box.system = "enrolled", SystemReported(**had).model_dump_json()
    assert admin.post(page, data=begin).status_code == 303
    seen = admin.get(f"{page}?lang=en").text
    assert all(words in seen for words in (begin["name"], "0.1.0", "Waits", "stops where more than 10 %"))
    assert begin["name"] not in admin.get("/admin/detectors").text
    (number,) = re.findall(r'name="stop" value="(\d+)"', seen)
    assert admin.post(page, data={"stop": number}).status_code == 303


@pytest.fixture
def box(desk):
    """A box that has a key, has told its settings, and answers what the test says."""
    with desk.store.writing() as session:
        row = session.get_one(Box, "xiaohe-1")
        key = X25519PrivateKey.generate()
        row.encryption_key = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return key


def tried(admin, **wish):
    """The page of a camera's trial."""
    return admin.post("/admin/cameras/new", data={"box": "xiaohe-1", "source": ADDRESS, **wish}).headers["location"]


def answered(desk, command, state, code="", data="{}"):
    with desk.store.writing() as session:
        row = session.get_one(CommandRow, command)
        row.state, row.code, row.data, row.replied_ms = state, code, data, now_ms()


def test_a_camera_is_tried_with_its_secret_sealed_and_then_saved(desk, admin, box):
    where = tried(admin, camera="gate", user="admin", password=SECRET)
    with desk.store.transaction() as session:
        secret, probe = session.scalars(select(CommandRow).order_by(CommandRow.asked_ms.desc()).limit(2)).all()[::-1]
        assert [one.verb for one in (secret, probe)] == ["secret", "probe"]
        sent = [one.key for one in orders.due(session, "demo", now_ms())]
        assert sent.index(secret.id) < sent.index(probe.id)
    opened = open_secret(json.loads(secret.args)["sealed"], box, "xiaohe-1", secret.id, "gate")
    assert Login.model_validate_json(opened) == Login(user="admin", password=SECRET)
    assert json.loads(probe.args) == {"camera": "gate", "source": ADDRESS, "credentials": "gate"}
    assert admin.post(where).status_code == 422  # nothing came of it yet
    answered(desk, secret.id, "ok")
    answered(desk, probe.id, "ok", data='{"stream": "1920x1080, h264"}')
    page = admin.get(where).text
    assert "1920x1080, h264" in page
    assert admin.post(where).headers["location"] == "/boxes/xiaohe-1"
    with desk.store.transaction() as session:
        document = read_document(json.loads(wanted.newest(session, "xiaohe-1").document))
        assert len(document.camera) > 1  # the others stay
        assert ("gate", ADDRESS, "gate") in [(one.id, one.source, one.credentials) for one in document.camera]
    assert admin.post(where).status_code == 422  # it is there already
    assert actions(desk, "box/xiaohe-1")[-3:] == ["box.secret", "box.probe", "box.settings"]
    with desk.store.engine.connect() as line:
        tables = [line.execute(select(one.__table__)) for one in (AuditRow, CommandRow, SettingsRow)]
        told = [str(tuple(row)) for rows in tables for row in rows]
    assert [one for one in (*told, page) if SECRET in one] == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"source": "http://10.0.0.5/"}, "source"),
        ({"source": "rtsp:///main"}, "source"),
        ({"source": "rtsp://10.0.0.5/user=a&password=b"}, "source"),
        ({"source": "rtsp://[::1/x"}, "source"),
        ({"camera": "Nord Tor"}, "camera"),
        ({"camera": "market"}, "camera"),
        ({"box": "nowhere"}, "box"),
        ({"user": "", "password": "x"}, "user"),
    ],
)
def test_what_cannot_be_tried_comes_back_with_why_and_without_its_password(admin, box, more, field):
    wish = {"box": "xiaohe-1", "camera": "yard-9", "source": ADDRESS, "user": "admin", "password": "hidden-7"} | more
    answer = admin.post("/admin/cameras/new", data=wish)
    assert answer.status_code == 422
    assert f'id="wrong-{field}-1"' in answer.text
    assert "hidden-7" not in answer.text


def test_user_and_password_that_were_pasted_with_the_address_are_taken_out_of_it(desk, admin, box):
    where = tried(admin, camera="yard-8", source="rtsp://us%20er:p%40ss@10.0.0.5:554/main")
    with desk.store.transaction() as session:
        probe = session.get_one(CommandRow, where.rpartition("/")[2])
        secret = camera_pages._secret_before(session, probe)
    assert json.loads(probe.args)["source"] == ADDRESS
    opened = open_secret(json.loads(secret.args)["sealed"], box, "xiaohe-1", secret.id, "yard-8")
    assert Login.model_validate_json(opened) == Login(user="us er", password="p@ss")


def test_what_went_wrong_is_said_by_its_name(desk, admin, box):
    where = tried(admin, camera="yard-7")
    for code, why in camera_pages.WHY.items():
        answered(desk, where.rpartition("/")[2], "failed", code)
        assert why in html.unescape(admin.get(f"{where}?lang=en").text)


def test_nobody_else_sees_or_saves_what_was_tried(desk, admin, box):
    where = tried(admin, camera="yard-6")
    for person in ("li", "wang", "sun"):
        sign_in(desk.store, person, admin)
        assert [admin.get(where).status_code, admin.post(where).status_code] == [403, 403]
