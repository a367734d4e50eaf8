"""Pictures that people take: sent by a telephone, perhaps twice, kept without what hides in them."""

import json
from datetime import datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD, Base
from sqlalchemy import select

from collector.evidence import uploads
from collector.evidence.files import PictureFiles
from collector.evidence.jpeg import size_of, taken_at
from collector.evidence.uploads import MOST_BYTES, MOST_PICTURES
from collector.notices.shop_view import pictures_of
from collector.people import audit
from collector.store import AuditRow, PictureRow, Ticket, TicketEvent
from tests import incidents
from tests.collector.conftest import Desk
from tests.incidents import Case
from tests.people import bearer, browser, make_pages, make_person, now_ms, sign_in

KEY = "7b0c2e4e-6a1f-4f0e-9a55-0d6a1c1a7f11"
ZONE = ZoneInfo("Asia/Shanghai")
LINK = SimpleNamespace(ticket_number=1)


def photo(number=0, *, taken="2026:03:02 10:11:12", offset="+08:00", order="<", gps=b"GPS-30.25N", size=(90, 120)):
    """What a telephone sends: upright by its orientation tag, with its time and its place in Exif."""
    picture = np.random.default_rng(number).integers(0, 255, (*size, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Orientation] = 6
    times = {Base.DateTimeOriginal: taken, Base.OffsetTimeOriginal: offset}
    exif.get_ifd(IFD.Exif).update({tag: text for tag, text in times.items() if text})
    content = exif.tobytes() + gps
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content + jpeg[2:]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    case = Case()
    desk.take(incidents.status(), case.picture("at", "close"), case.opened())
    roles = {"li": "operator@s", "lead": "admin@s", "chen": "officer@s", "wang": "officer@s", "far": "officer@t"}
    for person, role in {**roles, "boss": "viewer@s"}.items():
        make_person(desk.store, person, role)
    assign(desk, "chen")
    yield desk
    desk.store.close()


def assign(desk, person):
    with desk.store.writing() as session:
        session.get_one(Ticket, 1).assignee = person


@pytest.fixture
def app(desk):
    return make_pages(desk)


def put(app, desk, person, content, key=KEY, kind="image/jpeg", number=1):
    headers = bearer(desk.store, person) | {"content-type": kind}
    return browser(app).put(f"/api/tickets/{number}/pictures/{key}", content=content, headers=headers)


def counts(desk):
    return desk.count(PictureRow, PictureRow.role == "worker_after"), desk.count(
        TicketEvent, TicketEvent.kind == "picture"
    )


def test_a_picture_is_kept_without_its_place_beside_the_boxs(app, desk):
    at = datetime.now(ZONE).replace(microsecond=0)
    sent = photo(taken=f"{at:%Y:%m:%d %H:%M:%S}")
    answer = put(app, desk, "chen", sent)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    # 120 wide and 90 high as it was taken, and the tag says: turn it
    assert (found["width"], found["height"], found["author"], found["masked"]) == (90, 120, "person:chen", False)
    assert datetime.fromisoformat(found["taken_at"]) == at
    kept = desk.files.path(found["sha256"]).read_bytes()
    assert size_of(kept) == (90, 120)
    assert (b"GPS-30.25N" in sent, b"GPS" in kept, b"Exif" in kept) == (True, False, False)
    client = browser(app)
    sign_in(desk.store, "chen", client)
    (incident,) = client.get("/api/tickets/1").json()["incidents"]
    assert [one["role"] for one in incident["pictures"]].count("worker_after") == 1
    page = client.get("/tickets/1").text
    assert ("人员拍摄" in page, "未打码" in page, found["sha256"] in page) == (True, True, True)
    shown = client.get(found["url"])
    assert (shown.status_code, shown.headers["cache-control"], shown.content != kept) == (200, "no-store", True)
    (line,) = desk.read(audit.show, of="ticket/1")
    assert (line.actor, line.action) == ("person:chen", "ticket.picture")
    event = desk.one(select(TicketEvent).where(TicketEvent.kind == "picture"))
    assert (event.author, json.loads(event.detail)["sha256"]) == ("person:chen", found["sha256"])
    assert desk.get(Ticket, 1).version == 1, "nobody's step is outdated by a picture"


def test_a_telephone_that_sends_again_adds_nothing(app, desk):
    first, second = put(app, desk, "chen", photo()), put(app, desk, "chen", photo())
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert put(app, desk, "chen", photo(), key="another-key-1").status_code == 200, "it is here already"
    other = put(app, desk, "chen", photo(1))
    assert (other.status_code, other.json()["code"]) == (409, "used")
    assert counts(desk) == (1, 1)
    assert put(app, desk, "chen", photo(1), key="another-key-2").status_code == 201
    assert counts(desk) == (2, 2)


@pytest.mark.parametrize(
    ("person", "assignee", "status"),
    [
        ("chen", "chen", 201),
        ("li", "chen", 201),  # an operator
        ("lead", "chen", 201),  # an admin
        ("wang", "chen", 403),  # it is another one's
        ("wang", None, 201),  # it is nobody's yet
        ("boss", None, 403),
        ("far", None, 404),  # of another street: it is not there
    ],
)
def test_pictures_are_for_the_assignee_operators_and_admins(app, desk, person, assignee, status):
    assign(desk, assignee)
    assert put(app, desk, person, photo()).status_code == status
    assert counts(desk) == ((1, 1) if status == 201 else (0, 0))


def test_a_ticket_of_another_street_is_as_one_that_is_not_there(app, desk):
    there, none = (put(app, desk, "far", photo(), number=number) for number in (1, 99))
    assert there.status_code == none.status_code == 404
    assert there.text == none.text.replace("99", "1")


def bomb(width, height):
    """A head that promises more than any picture has."""
    jpeg = photo()
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + height.to_bytes(2) + width.to_bytes(2) + jpeg[at + 9 :]


@pytest.mark.parametrize(
    ("content", "options", "status", "words"),
    [
        (b"", {}, 422, "does not begin as a JPEG does"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), {}, 422, "does not begin as a JPEG does"),  # whatever its name says
        (bomb(65535, 65535), {}, 422, "expected at most 50 million pixels, got 65535x65535"),
        (photo()[:200], {}, 422, ""),
        (photo(size=(400, 500))[:60_000], {}, 422, "it cannot be decoded"),  # the line broke
        (b"\xff\xd8" + bytes(MOST_BYTES), {}, 413, "expected a picture of at most"),
        (photo(), {"kind": "image/png"}, 415, "expected a JPEG"),
        (photo(), {"key": "short"}, 422, ""),
        (photo(), {"key": "a/b-c-d-e-f"}, 404, ""),
        (photo(), {"number": 99}, 404, "expected a ticket of this center"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_kept(app, desk, content, options, status, words):
    answer = put(app, desk, "chen", content, **options)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert counts(desk) == (0, 0)


def in_steps(scans):
    """A progressive picture whose last scan is sent again until there are so many."""
    jpeg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last, count = jpeg.rindex(b"\xff\xda"), jpeg.count(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * (scans - count + 1) + jpeg[-2:]


@pytest.mark.parametrize(
    ("content", "words"), [(bomb(9000, 9000), "million pixels"), (in_steps(101), "at most 100 scans")]
)
def test_a_bomb_is_refused_before_anything_is_decoded(monkeypatch, content, words):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=words):
        uploads.read_upload(content, ZONE, now_ms())


def test_a_progressive_picture_is_taken():
    assert uploads.read_upload(in_steps(12), ZONE, now_ms()).width == 16


@pytest.mark.parametrize(("state", "hours", "status"), [("closed", 23, 201), ("false_alarm", 25, 409)])
def test_a_ticket_takes_pictures_until_a_day_after_its_end(app, desk, state, hours, status):
    assert put(app, desk, "chen", photo()).status_code == 201
    with desk.store.writing() as session:
        ticket = session.get_one(Ticket, 1)
        ticket.state, ticket.open, ticket.closed_ms = state, 0, now_ms() - hours * 3_600_000
    answer = put(app, desk, "chen", photo(1), key="another-key-1")
    assert (answer.status_code, "not_now" in answer.text) == (status, status == 409), answer.text
    assert put(app, desk, "chen", photo()).status_code == 200, "what is here is not refused again"


@pytest.mark.parametrize("named", [("has", "read", "put"), ("put", "read")])
def test_while_the_storage_is_away_people_are_told_so(app, desk, monkeypatch, named):
    def away(*_):
        raise OSError("away")

    def rows():
        with desk.store.transaction() as session:
            logged = select(AuditRow.action).where(AuditRow.action != "token.add")
            return [session.scalars(one).all() for one in (select(Ticket.number), select(PictureRow.id), logged)]

    client = browser(app)
    sign_in(desk.store, "li", client)
    for name in named:
        monkeypatch.setattr(PictureFiles, name, away)
    before = rows()
    fields = {"source": "grid", "code": "0501", "street": "s", "position": "120.14, 30.31"}
    for answer in (
        put(app, desk, "chen", photo()),
        client.post("/report", data=fields, files={"picture": ("a.jpg", photo(), "image/jpeg")}),
        client.post("/evidence/tickets/1/package", data={"reason": "行政复议"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "busy"), answer.text
        assert "请稍后再试" in answer.json()["detail_zh"]
    tickets, pictures, logged = rows()
    assert [tickets, pictures] == before[:2]
    assert logged == [*before[2], "evidence.package"], "who asked for a package is on record before it is made"
    assert desk.read(pictures_of, LINK, desk.files) == () or "has" not in named


def test_a_ticket_takes_so_many_and_no_more(app, desk, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_PICTURES", 2)
    assert MOST_PICTURES > 2
    answers = [put(app, desk, "chen", photo(number), key=f"key-number-{number}") for number in range(3)]
    assert [one.status_code for one in answers] == [201, 201, 409]
    assert put(app, desk, "chen", photo(1), key="key-number-1").status_code == 200, "what is here is not refused again"


def test_a_shop_never_sees_it(app, desk):
    name = put(app, desk, "chen", photo()).json()["sha256"]
    with desk.store.transaction() as session:
        assert name not in str(vars(session.get_one(Ticket, 1)))
        shown = [one.sha256 for one in pictures_of(session, LINK, desk.files)]
        assert shown
        assert name not in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "2026-03-02T10:11:12+08:00"),
        ({"order": ">"}, "2026-03-02T10:11:12+08:00"),
        ({"offset": "+00:00"}, "2026-03-02T10:11:12+00:00"),
        ({"offset": ""}, "2026-03-02T10:11:12+08:00"),  # the center's time
        ({"offset": "xx:yy"}, "2026-03-02T10:11:12+08:00"),
        ({"taken": "2026:02:30 10:11:12"}, None),
        ({"taken": "0000:00:00 00:00:00"}, None),
        ({"taken": ""}, None),
    ],
)
def test_when_a_telephone_says_it_took_it(options, expected):
    found = taken_at(photo(**options), ZONE)
    assert (None if found is None else found.isoformat()) == expected
    assert taken_at(incidents.jpeg(), ZONE) is None, "it has no Exif"


@pytest.mark.parametrize(("hours", "good"), [(0, True), (-24 * 29, True), (-24 * 31, False), (2, False)])
def test_a_time_that_cannot_be_is_not_kept(hours, good):
    said = round(datetime(2026, 3, 2, 10, 11, 12, tzinfo=ZONE).timestamp() * 1000)
    taken = uploads.read_upload(photo(), ZONE, said - hours * 3_600_000)
    assert taken.taken_ms == (said if good else None)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_whatever_stands_in_exif_the_time_is_known_or_not(noise, at):
    whole = photo()
    spoilt = whole[: 20 + at] + noise + whole[20 + at + len(noise) :]
    try:
        found = taken_at(spoilt, ZONE)
    except ValueError:
        return  # no JPEG any more
    assert found is None or found.tzinfo is not None
