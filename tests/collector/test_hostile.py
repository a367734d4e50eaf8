"""Whatever arrives is stored or refused; the inbox goes on, and one box cannot push out what another sent."""

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from collector.evidence.jpeg import size_of
from collector.inbox import quarantine
from collector.inbox.quarantine import KEEP_PER_BOX
from collector.inbox.reading import Delivery
from collector.store import MessageRow, Refused, Ticket
from protocol.pictures import PictureHeader
from protocol.topics import BOX_READS, BOX_WRITES
from tests import incidents
from tests.incidents import START_S, Case, jpeg
from tests.services import ROOT

SLUG = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
LEAVES = [*BOX_WRITES, *BOX_READS]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
topics = st.one_of(
    st.builds(lambda box, leaf: f"cityeye/1/s/{box}/{leaf}", SLUG, st.sampled_from(LEAVES)),
    st.builds(lambda leaf: f"cityeye/1/s/box-1/{leaf}/cam-1", st.sampled_from(["camera", "incident", "evidence"])),
    st.text(max_size=40),
)
OPENED = json.loads(Case(number=9).opened().payload)
FIELDS = [("data", name) for name in OPENED["data"]] + [(name,) for name in OPENED]


def with_field(field, value):
    message = json.loads(json.dumps(OPENED))
    where = message if len(field) == 1 else message["data"]
    where[field[-1]] = value
    return json.dumps(message).encode()


payloads = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(with_field, st.sampled_from(FIELDS), JSON),
)
NASTY = [
    with_field(("data", "shop"), "a\x00b"),
    with_field(("data", "rule"), "encroachment\x00"),
    with_field(("data", "rule"), "\ud800"),
    with_field(("data", "place_id"), "\udfff"),
    with_field(("data", "incident"), "\x00"),
    with_field(("data", "seq"), 2**63),
    with_field(("data", "seq"), 10**400),
    with_field(("data", "dwell_s"), float("nan")),
    with_field(("data", "dwell_s"), float("inf")),
    with_field(("data", "clock"), {"state": "x", "boot_id": "b", "uptime_s": 1e308}),
    with_field(("data", "clock"), {"state": "x", "boot_id": "b\x00", "uptime_s": 1}),
    with_field(("data", "clock"), {"state": "x", "boot_id": "b", "uptime_s": 1, "offset_s": -1e308}),
    with_field(("data", "opened_at"), "0001-01-01T00:00:00+23:59"),
    with_field(("data", "opened_at"), "9999-12-31T23:59:59.999-23:59"),
    with_field(("data", "at"), 1e300),
    with_field(("data", "reason"), "x\x00"),
    with_field(("unknown",), "kept as it came: \x00"),
    b'{"id":' * 9000 + b"1" + b"}" * 9000,
    b"[" * 1_000_000,
    b'{"a":"' + b"x" * 1_048_000 + b'"}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("leaf", ["incident/cam-1", "camera/cam-1", "evidence/cam-1", "status", "health", "reply"])
def test_nasty_messages_break_nothing(desk, leaf):
    good = Case(shop="good").opened()
    for number, payload in enumerate(NASTY):
        case = Case(number=100 + number, shop=f"shop-{number}")
        desk.take(Delivery(f"cityeye/1/s/box-1/{leaf}", payload), case.opened())
    desk.take(good)
    assert desk.count(Ticket) >= len(NASTY) + 1
    # nothing was put off: all was judged
    assert desk.count(MessageRow) >= len(NASTY) + 1


STATUS = json.loads(incidents.status().payload)


@pytest.mark.parametrize(
    ("leaf", "name", "value"),
    [
        ("status", "version", "1\x00"),
        ("status", "boot_id", "\ud800"),
        ("status", "state", "dancing"),
        ("status", "open_incidents", [{"incident": "x", "seq": 2**70}]),
        ("status", "open_incidents", [{"incident": "x", "seq": 1}] * 501),
    ],
)
def test_a_status_that_is_wrong_is_refused(desk, leaf, name, value):
    message = {**STATUS, "data": {**STATUS["data"], name: value}}
    assert desk.take(Delivery(f"cityeye/1/s/box-1/{leaf}", json.dumps(message).encode()))[1] == ["invalid"]


anything = st.lists(
    st.builds(
        Delivery,
        topics,
        payloads,
        st.lists(st.tuples(st.text(max_size=9), st.text(max_size=70)), max_size=5).map(tuple),
        st.sampled_from(["", "image/jpeg", "text/html", "\x00"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def judged(desk, deliveries):
    """Nothing is left for later: that would be sent again for ever."""
    for answer in desk.take_any(*deliveries):
        assert answer.acknowledgement.later == ()


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(deliveries=anything)
@example(deliveries=[Delivery("cityeye/1/s/box-1/incident/cam-1", one) for one in NASTY])
def test_anything_is_judged(desk, deliveries):
    judged(desk, deliveries)


def frame(width, height, *, marker=0xC0):
    return b"\xff" + bytes([marker]) + b"\x00\x0b\x08" + height.to_bytes(2) + width.to_bytes(2) + b"\x01\x01\x11\x00"


APP = b"\xff\xe0\x00\x04ab"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (jpeg(), (160, 90)),
        (b"\xff\xd8" + frame(1920, 1080), (1920, 1080)),
        (b"\xff\xd8" + APP * 20 + frame(7, 5, marker=0xC2), (7, 5)),  # progressive
        (b"\xff\xd8\xff\xff\xff" + frame(7, 5)[1:], (7, 5)),  # filled up
        (b"\xff\xd8" + frame(65535, 65535), (65535, 65535)),  # would unpack to 12 GB
        (b"\xff\xd8" + frame(0, 5), None),
        (b"\xff\xd8" + frame(5, 0), None),
        (b"\xff\xd8" + APP * 300 + frame(7, 5), None),
        (b"\xff\xd8\xff\xc4\x00\x04ab\xff\xd9", None),  # tables and no frame
        (b"\xff\xd8\xff\xda" + frame(7, 5), None),
        (b"\xff\xd8\xff\xe0\xff\xff", None),
        (b"\xff\xd8\xff\xe0\x00\x01", None),
        (b"\xff\xd8\xff", None),
        (b"\x89PNG\r\n", None),
        (b"", None),
    ],
)
def test_the_size_of_a_picture(content, expected):
    if expected is not None:
        assert size_of(content) == expected
        return
    with pytest.raises(ValueError, match=r"^(its?|a segment) "):
        size_of(content)


@settings(max_examples=300)
@given(st.binary(max_size=200).map(lambda tail: b"\xff\xd8\xff" + tail) | st.binary(max_size=50))
def test_no_picture_breaks_the_parser(content):
    try:
        width, height = size_of(content)
    except ValueError:
        return
    assert 0 < width <= 65535
    assert 0 < height <= 65535


@settings(max_examples=100)
@given(st.integers(0, 700), st.integers(0, 255))
def test_a_damaged_header_gives_a_size_or_a_reason(at, byte):
    content = bytearray(jpeg())
    content[at] = byte
    try:
        assert len(size_of(bytes(content))) == 2
    except ValueError as fault:
        assert str(fault)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"\xff\xd8" + frame(1921, 10), "image/jpeg", "too_large"),
        (b"\xff\xd8" + frame(65535, 65535), "image/jpeg", "too_large"),
        (b"\xff\xd8\xff\xd9", "image/jpeg", "invalid"),
        (b"GIF89a", "image/jpeg", "invalid"),
        (jpeg(), "text/html", "invalid"),
        (jpeg(), "image/jpeg", None),
        (jpeg(), "", None),
    ],
)
def test_pictures_that_are_none_are_refused(desk, content, kind, code):
    sha256 = hashlib.sha256(content).hexdigest()
    header = PictureHeader(incident="i", role="at", view="wide", sha256=sha256)
    delivery = Delivery("cityeye/1/s/box-1/evidence/cam-1", content, tuple(header.to_properties()), kind)
    stored, refused, later = desk.take(delivery)
    assert (refused, later) == ([] if code is None else [code], [])
    assert len(stored) == (code is None)
    assert desk.files.path(sha256).exists() == (code is None)


def test_one_box_cannot_push_out_what_another_sent(desk):
    desk.take(Case().opened())
    desk.take(Case(number=2, box="box-2", shop="shop-2").opened())
    desk.take(Delivery("cityeye/1/s/box-2/incident/cam-1", b"rare"))
    for number in range(3):
        flood = [Delivery("cityeye/1/s/box-1/incident/cam-1", b"flood %d" % one) for one in range(150)]
        strangers = [Delivery(f"cityeye/1/s/box-{100 + one}/status", b"{}") for one in range(150)]
        desk.take_any(*flood, *strangers, Delivery(f"x{number}", b""))
    with desk.store.transaction() as session:
        found = dict(session.execute(select(Refused.box, func.count()).group_by(Refused.box)).all())
        assert found == {"box-1": KEEP_PER_BOX, "box-2": 1, "": KEEP_PER_BOX}


def test_the_whole_quarantine_is_bounded(desk, monkeypatch):
    monkeypatch.setattr(quarantine, "KEEP", 50)
    for box in range(4):
        desk.take(Case(number=box + 1, box=f"box-{box}", shop=None).opened())
        desk.take_any(*[Delivery(f"cityeye/1/s/box-{box}/incident/cam-1", b"no")] * 30)
    assert desk.count(Refused) <= 50


def test_a_flood_of_rubbish_is_one_line_a_minute(desk, caplog):
    rubbish = Delivery("cityeye/1/s/box-1/incident/cam-1", b"no")
    for second in (0, 1, 59, 61):
        desk.now_s = START_S + second
        desk.take_any(*[rubbish] * 10)
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(lines) == 2
    assert "29 more since the last line" in lines[1]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.collector.conftest import Desk
from tests.incidents import Case
desk = Desk(Path(sys.argv[1]))
case = Case()
desk.take(case.opened())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
picture = case.picture()
small = len(picture.payload) // 2
# no file may grow beyond this, as on a full disk; the database has room left for what it has
resource.setrlimit(resource.RLIMIT_FSIZE, (small, resource.RLIM_INFINITY))
stored, refused, later = desk.take(picture)
assert (stored, refused, len(later)) == ([], [], 1), (stored, refused, later)
second = Case(number=2, shop="shop-2").opened()
print(desk.take(second))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(desk.take(picture)[0]) == 1
assert len(desk.take(second)[0]) == 1
assert not list(Path(sys.argv[1]).rglob("*.part"))
print("whole")
"""


def test_a_full_disk_loses_nothing(tmp_path):
    """In a process of its own, as the limit holds for all of it."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert done.stdout.endswith("whole\n"), done.stdout + done.stderr
