"""The inbox: exactly once, in any order, and nothing that does not belong."""

import json
import shutil
import threading

import paho.mqtt.properties as paho
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.packettypes import PacketTypes
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from collector.evidence.files import PictureFiles
from collector.inbox import intake
from collector.inbox.quarantine import MAX_HEAD
from collector.inbox.reading import Delivery
from collector.inbox.session import InboxSession
from collector.inbox.writer import BATCH, Writer
from collector.store import Box, IncidentRow, MessageRow, PictureRow, Refused, StoreError, Ticket, open_store
from protocol.broker import BrokerLine
from protocol.messages import MAX_ACKNOWLEDGED
from tests import incidents
from tests.agent.uplink.test_session import center
from tests.incidents import START_S, Case
from tests.services import wait_for


def changed(delivery, **values):
    """The same message with other values; dots go into `data`."""
    message = json.loads(delivery.payload)
    for key, value in values.items():
        if key in message:
            message[key] = value
        else:
            message["data"][key] = value
    return Delivery(delivery.topic, json.dumps(message).encode())


def test_a_message_is_stored_once_however_often_it_comes(desk):
    opened = Case().opened()
    first = desk.take(opened)
    assert first[0] == [json.loads(opened.payload)["id"]]
    assert desk.take(opened) == first
    assert desk.take(opened, opened)[0] == first[0] * 2
    assert (desk.count(MessageRow), desk.count(IncidentRow), desk.count(Ticket)) == (1, 1, 1)


def test_no_acknowledgement_holds_more_than_it_may(desk):
    cases = [Case(number=number, shop=None) for number in range(1, BATCH + 1)]
    answers = desk.take_any(*[case.opened() for case in cases])
    assert [len(answer.acknowledgement.stored) for answer in answers] == [MAX_ACKNOWLEDGED, BATCH - MAX_ACKNOWLEDGED]
    assert {one for answer in answers for one in answer.acknowledgement.stored} == {f"{case.id}:1" for case in cases}


def test_a_picture_may_come_before_its_incident(desk):
    case = Case()
    picture = case.picture()
    assert desk.take(picture)[0] == [f"{case.id}:at:wide:{case.pictures[0][0].sha256}"]
    assert desk.take(picture, case.opened(), picture)[1:] == ([], [])
    assert desk.count(PictureRow) == 1
    sha256 = case.pictures[0][0].sha256
    assert desk.files.path(sha256).read_bytes() == case.pictures[0][1]


def topic(delivery, name):
    return Delivery(name, delivery.payload, delivery.properties)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda one: changed(one, source="/cityeye/s/box-2"), "wrong_source"),
        (lambda one: changed(one, dataschema="urn:cityeye:schema:incident:2"), "unknown_major"),
        (lambda one: changed(one, type="cityeye.incident.exploded"), "unknown_type"),
        (lambda one: changed(one, seq=7), "invalid"),  # the id says another
        (lambda one: changed(one, camera="cam-2"), "invalid"),  # the topic says another
        (lambda one: changed(one, place=[0, 0, 2, 2]), "invalid"),
        (lambda one: changed(one, visibility="perhaps"), "invalid"),
        (lambda one: Delivery(one.topic, one.payload[:-9] + b" " * 70_000 + one.payload[-9:]), "too_large"),
    ],
)
def test_what_is_wrong_is_refused_and_kept_for_a_person(desk, make, code):
    stored, refused, later = desk.take(make(Case().opened()))
    assert (stored, later) == ([], [])
    assert refused in ([code], [])  # a message too large to be read has no id to answer
    (kept,) = desk.rows(select(Refused))
    assert kept.code == code
    assert len(kept.head) <= MAX_HEAD
    assert kept.box == ""  # of no known box
    assert desk.count(MessageRow) == 0


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery("cityeye/1/s/box-1/incident/cam-1", b""),
        Delivery("cityeye/1/s/box-1/incident/cam-1", b"\xff\xfe\x00"),
        Delivery("cityeye/1/s/box-1/incident/cam-1", b"[" * 50_000),
        Delivery("cityeye/1/s/box-1/incident/cam-1", b'{"id": 7}'),
        Delivery("cityeye/1/s/box-1/evidence/cam-1", b"", ()),
        Delivery("cityeye/1/s/box-1/status", b"{}"),
        Delivery("cityeye/1/s/box-1/camera/cam-1", b"null"),
        Delivery("cityeye/1/s", b""),
        Delivery("elsewhere", b""),
        Delivery("cityeye/9/s/box-1/incident/cam-1", b"{}"),
    ],
)
def test_garbage_is_refused_and_takes_nothing_with_it(desk, delivery):
    good = Case().opened()
    assert desk.take(delivery, good, delivery)[0] == [json.loads(good.payload)["id"]]
    assert desk.count(Refused) == 2


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda one: Delivery(one.topic, one.payload + b"x", one.properties), "wrong_hash"),
        (lambda one: Delivery(one.topic, b"GIF89a" + one.payload, one.properties), "invalid"),
        (lambda one: Delivery(one.topic, one.payload + b"\0" * 600_000, one.properties), "too_large"),
        (lambda one: Delivery(one.topic, one.payload, (*one.properties[:3], ("sha256", "../../etc/passwd"))), None),
    ],
)
def test_a_spoiled_picture_is_refused(desk, spoil, code):
    stored, refused, _ = desk.take(spoil(Case().picture()))
    assert stored == []
    assert refused == ([] if code is None else [code])
    assert not list((desk.folder / "evidence").glob("*/*.jpg"))


def test_a_box_cannot_write_for_another(desk):
    case = Case()
    desk.take(case.opened(), case.picture())
    thief = Case(box="box-2")
    assert desk.take(thief.updated(START_S + 20))[1] == ["wrong_box"]
    assert desk.take(thief.picture("after", number=5))[1] == ["wrong_box"]
    assert desk.take(Case(number=2, site="elsewhere").opened())[1] == ["wrong_site"]


def test_the_first_key_of_a_box_stays(desk):
    desk.take(incidents.status(), incidents.status(key=Ed25519PrivateKey.generate()), incidents.status("offline"))
    box = desk.get(Box, "box-1")
    assert json.loads(incidents.status().payload)["data"]["public_key"] == box.public_key
    assert box.state == "offline"


def test_a_full_disk_asks_for_it_later(desk, monkeypatch):
    """The row of a picture is never there without its file; the message beside it is stored."""
    case = Case()
    picture, opened = case.picture(), case.opened()
    (desk.folder / "evidence").write_text("in the way")  # no folder can be made here
    stored, refused, later = desk.take(picture, opened)
    assert stored == [json.loads(opened.payload)["id"]]
    assert refused == []
    assert later == [f"{case.id}:at:wide:{case.pictures[0][0].sha256}"]
    assert desk.count(PictureRow) == 0
    (desk.folder / "evidence").unlink()
    assert len(desk.take(picture)[0]) == 1


def test_of_a_storage_that_is_away_a_batch_asks_once(desk, monkeypatch):
    tried = []

    def away(*_):
        tried.append(1)
        raise OSError("away")

    monkeypatch.setattr(PictureFiles, "put", away)
    case = Case()
    stored, _, later = desk.take(case.picture(), case.picture("at", "close"), case.opened())
    assert (len(stored), len(later), len(tried)) == (1, 2, 1)
    desk.take(case.picture())
    assert len(tried) == 2


def test_a_locked_database_asks_for_it_later(desk, monkeypatch):
    def locked():
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    opened = Case().opened()
    monkeypatch.setattr(desk.store.__class__, "transaction", lambda _: locked())
    assert desk.take(opened)[2] == [json.loads(opened.payload)["id"]]
    monkeypatch.undo()
    assert len(desk.take(opened)[0]) == 1


def test_one_bad_delivery_does_not_hold_up_its_batch(desk, monkeypatch):
    """A delivery that breaks the code, not the rules, is postponed alone."""
    good, bad = Case(), Case(number=2, shop="shop-2")
    honest = intake.ticket_key

    def broken(data, box):
        if data.shop == "shop-2":
            raise KeyError("a fault of ours")
        return honest(data, box)

    monkeypatch.setattr(intake, "ticket_key", broken)
    stored, refused, later = desk.take(good.opened(), bad.opened(), good.updated(START_S + 60))
    assert len(stored) == 2
    assert refused == []
    assert later == [f"{bad.id}:1"]


def test_a_database_that_cannot_be_used_is_told(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"no database at all, only text" * 50)
    with pytest.raises(StoreError, match="expected a database") as fault:
        open_store(f"sqlite:///{path}")
    assert "\n" not in str(fault.value)


def test_the_whole_way_over_a_real_broker(broker, desk):
    """Committed and acknowledged; while the collector is away nothing is lost that the box sends again."""
    case = Case()
    with center(broker.port) as box:
        writer = Writer(desk.store, desk.files, desk.change)
        session = InboxSession(BrokerLine(url=broker.url), desk.folder, "cityeye-center-demo", writer.put)
        writer.start(session.answer)
        session.start()
        box.answering = False
        wait_for(lambda: session.connected, "connected")
        acks = threading.Event()
        try:
            picture, opened = case.picture(), case.opened()
            for one in (picture, opened):
                publish(box.client, one)
            wait_for(lambda: sum(len(json.loads(a.payload)["stored"]) for a in box.on("ack")) == 2, "both are stored")
            wait_for(lambda: desk.changes >= 1, "pages are told")
            acks.set()
        finally:
            session.stop()
            writer.stop()
    assert (desk.count(MessageRow), desk.count(PictureRow), desk.count(Ticket)) == (1, 1, 1)
    shutil.rmtree(desk.folder / "evidence")


def publish(client, delivery):
    properties = paho.Properties(PacketTypes.PUBLISH)
    if delivery.properties:
        properties.UserProperty = list(delivery.properties)
    client.publish(delivery.topic, delivery.payload, qos=1, properties=properties)
