"""The decoders. Each takes bytes and may only fail as it says it does; any other exception is a defect."""

import base64
import contextlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.box.document import Standing, begun
from agent.rules.life import Record
from agent.settings import BoxSettings
from agent.uplink.outbox import Outbox, OutboxError
from collector.boxes.authority import read_request
from collector.evidence.files import PictureFiles
from collector.inbox.intake import Delivery
from collector.inbox.writer import Writer
from collector.places import grid
from collector.places.cameras import CAMERAS
from collector.places.columns import read_table, values_of
from collector.places.faults import Fault, PlacesError
from collector.places.permits import PERMITS
from collector.places.shapes import area_m2
from collector.places.sheets import read_sheet, write_csv, write_workbook
from collector.places.shops import SHOPS
from collector.settings import CenterSettings
from collector.store import open_store
from protocol import messages, topics
from protocol.commands import CommandEvent, read_arguments
from protocol.documents import SettingsError
from protocol.enrolment import Denied, Enrolled, EnrolRequest, Invitation, RenewRequest, make_claim, read_claim
from protocol.messages import Acknowledgement, MessageError, read_acknowledgement, read_event
from protocol.pictures import read_header
from protocol.sealed import SealedError, open_secret, seal_secret
from protocol.settings import DocumentError, read_document
from tests import incidents
from tests.faults.scribe import Scribe
from tests.incidents import Case
from tests.places import collection, square

START_S = 1_780_000_000.0


@dataclass(frozen=True)
class Target:
    """A decoder under fuzzing.

    Args:
        take: what is called with each input.
        seeds: inputs to begin with.
        max_bytes: of an input.
    """

    take: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    max_bytes: int = 8 * 1024


def _tolerant(*faults: type[Exception]) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """The decoder may refuse an input so."""

    def around(take: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def inner(data: bytes) -> None:
            with contextlib.suppress(*faults):
                take(data)

        return inner

    return around


def _deliveries() -> list[Delivery]:
    case = Case()
    return [
        case.picture(),
        case.opened(),
        case.updated(START_S + 60),
        case.cleared(START_S + 90),
        Case(number=2).ended(START_S + 20),
        incidents.status(),
    ]


def _payloads() -> list[bytes]:
    deep = b'{"a":' * 2000 + b"1" + b"}" * 2000
    payloads = [one.payload for one in _deliveries()]
    endless = payloads[1].replace(b'"dwell_s":12.0', b'"dwell_s":1e999')
    assert endless != payloads[1]
    return [*payloads, endless, b"", b"{}", b"[]", b"null", b"NaN", b'{"id":1e999}', deep, b"\xff"]


# protocol


@_tolerant(MessageError)
def _event(data: bytes) -> None:
    models = list(messages.SCHEMAS.values())
    event = read_event(data[1:], models[data[0] % len(models)] if data else models[0])
    # what was read can be written, and is the same when it is read again
    wire = event.to_json()
    assert read_event(wire, type(event)).to_json() == wire


@_tolerant(MessageError)
def _acknowledgement(data: bytes) -> None:
    answer = read_acknowledgement(data)
    assert Acknowledgement.model_validate_json(answer.model_dump_json()) == answer


def _acknowledgements() -> list[bytes]:
    full = {
        "stored": ["a:1"],
        "refused": [{"id": "b:1", "code": "invalid", "text": "no"}],
        "later": [{"id": "c:1", "after_s": 30}],
    }
    return [json.dumps(full).encode(), b"{}", b'{"later":[{"id":"c","after_s":1e999}]}']


def _properties(data: bytes) -> tuple[tuple[str, str], ...]:
    lines = (line.partition(": ") for line in data.decode("utf-8", "replace").split("\n"))
    return tuple((name, value) for name, _, value in lines)


@_tolerant(MessageError)
def _header(data: bytes) -> None:
    header = read_header(_properties(data))
    assert read_header(header.to_properties()) == header


def _text_of(properties: Sequence[tuple[str, str]]) -> bytes:
    return "\n".join(f"{name}: {value}" for name, value in properties).encode()


@_tolerant(ValueError)
def _topic(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert str(topics.parse(text)) == text


# enrolment


@_tolerant(ValueError)
def _claim(data: bytes) -> None:
    claim = read_claim(data.decode("utf-8", "replace"))
    assert read_claim(claim.lower()) == claim


@_tolerant(ValueError)
def _invitation(data: bytes) -> None:
    invitation = Invitation.read(data.decode("utf-8", "replace"))
    assert Invitation.read(str(invitation)) == invitation


@_tolerant(ValueError)
def _enrolment(data: bytes) -> None:
    """What comes in at the enrolment's door (and, the other answers, at the box)."""
    models = (EnrolRequest, RenewRequest, Enrolled, Denied)
    models[data[0] % len(models) if data else 0].model_validate_json(data[1:])


@_tolerant(ValueError)
def _signing_request(data: bytes) -> None:
    read_request(data.decode("utf-8", "replace"))


def _invitations() -> list[bytes]:
    return [str(Invitation("https://h:8", make_claim(), "0" * 64, box)).encode() for box in ("box-1", None)]


def _signing_requests() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return [made.public_bytes(Encoding.PEM)]


def _enrolment_bodies() -> list[bytes]:
    csr = _signing_requests()[0].decode()
    asked = EnrolRequest(claim=make_claim(), csr=csr, box="box-1").model_dump_json().encode()
    denied = Denied(code="x", text="y").model_dump_json().encode()
    return [*(bytes([number]) + asked for number in range(4)), b"\3" + denied]


# orders


@_tolerant(MessageError)
def _command(data: bytes) -> None:
    command = read_event(data, CommandEvent)
    read_arguments(command.data.verb, command.data.args)


def _commands() -> list[bytes]:
    arguments: dict[str, dict[str, Any]] = {
        "snapshot": {"camera": "c"},
        "verify": {"camera": "c", "zone": "z"},
        "scene": {"camera": "c", "action": "reset"},
        "secret": {"name": "n", "sealed": "AAAA"},
        "restart": {},
        "diagnostics": {},
        "resend": {"since": "2026-01-01T00:00:00Z"},
    }
    data = [{"verb": verb, "args": args, "expires_at": "2026-01-01T00:01:00Z"} for verb, args in arguments.items()]
    return [incidents.told(CommandEvent, "command", START_S, one).payload for one in data]


@_tolerant(SealedError)
def _sealed(data: bytes) -> None:
    open_secret(data.decode("utf-8", "replace"), _KEY, "box-1", "command-1", "name")


_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))


def _sealed_secrets() -> list[bytes]:
    public = base64.b64encode(_KEY.public_key().public_bytes_raw()).decode()
    return [seal_secret(b"hunter2", public, "box-1", "command-1", "name").encode()]


@_tolerant(DocumentError)
def _document(data: bytes) -> None:
    """The cameras' settings, as a center wants them."""
    with contextlib.suppress(SettingsError):
        document = read_document(_object(data))
        assert read_document(document.values()) == document


def _documents() -> list[bytes]:
    return [json.dumps({"camera": json.loads(_box_documents()[0])["camera"]}).encode()]


@_tolerant(ValueError, KeyError, TypeError)
def _standing(data: bytes) -> None:
    """What a box remembers of its settings."""
    standing = Standing.from_json(data.decode("utf-8", "replace"))
    assert Standing.from_json(standing.to_json()) == standing


def _standings() -> list[bytes]:
    return [begun(read_document(json.loads(_documents()[0])), None).to_json().encode()]


# the center


@cache
def _writer() -> Writer:
    folder = Path(tempfile.mkdtemp())
    store = open_store(f"sqlite:///{folder / 'center.db'}")
    return Writer(store, PictureFiles(folder), lambda: None, lambda: START_S + 100)


def _publish(data: bytes) -> None:
    head, _, payload = data.partition(b"\n\n")
    topic, _, properties = head.partition(b"\n")
    delivery = Delivery(topic.decode("utf-8", "replace"), payload, _properties(properties), "")
    # whatever it is, the writer goes on; and what it cannot take for now, it says so
    for answer in _writer().commit([delivery]):
        assert not answer.acknowledgement.later, answer


def _publishes() -> list[bytes]:
    return [
        b"\n".join((one.topic.encode(), _text_of(one.properties))) + b"\n\n" + one.payload for one in _deliveries()
    ] + [one + b"\n\n{}" for one in (b"cityeye/1/s/b/health", b"cityeye/1/s/b/camera/c", b"", b"cityeye/2/s/b/status")]


@_tolerant(SettingsError)
def _center_settings(data: bytes) -> None:
    CenterSettings.of(_object(data), "fuzz")


def _object(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise SettingsError("not JSON") from None
    if not isinstance(values, dict):
        raise SettingsError("no table")
    return values


# the box


@_tolerant(SettingsError)
def _box_settings(data: bytes) -> None:
    BoxSettings.of(_object(data), "fuzz")


def _box_documents() -> list[bytes]:
    whole = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    plane = {"points": whole, "width_m": 4, "depth_m": 3}
    shop = {"id": "front", "kind": "frontage", "shop": "shop-1", "polygon": whole, "dwell_s": 10.0, "min_area_m2": 0.5}
    square = {"id": "square", "kind": "gathering", "polygon": whole, "dwell_s": 3.0, "max_density": 2}
    camera = {"id": "c", "source": "rtsp://h/1", "plane": plane, "zone": [shop, square]}
    document = {"version": 1, "box": {"id": "b", "site": "s"}, "camera": [camera]}
    return [json.dumps(document).encode(), b'{"version":1,"box":{"id":"b","site":"s"}}']


@_tolerant(ValueError, TypeError, KeyError, AttributeError)
def _record(data: bytes) -> None:
    Record.from_json(data.decode("utf-8", "replace"))


@cache
def _outbox() -> tuple[Path, bytes]:
    """A folder, and a real outbox file as it lies there after a box was used."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "outbox.db"
    outbox = Outbox(path, lambda: START_S)
    scribe = Scribe("s", "box-1", outbox, lambda: START_S)
    for number in range(3):
        scribe.clear(scribe.open(number, size=900))
    outbox.close()
    content = path.read_bytes()
    return folder, content


def _states() -> list[bytes]:
    outbox = Outbox(None, lambda: START_S)
    Scribe("s", "box-1", outbox, lambda: START_S).open(1)
    return [row.state.encode() for row in outbox.incidents()]


@_tolerant(OutboxError, sqlite3.Error, ValueError, TypeError)
def _outbox_file(data: bytes) -> None:
    """An outbox some of whose bytes have rotted: it opens, or is moved aside, and says what it holds."""
    folder, content = _outbox()
    rotten = bytearray(content)
    for at in range(0, len(data) - 3, 4):
        rotten[int.from_bytes(data[at : at + 3]) % len(rotten)] = data[at + 3]
    for path in folder.iterdir():
        path.unlink()
    (folder / "outbox.db").write_bytes(rotten)
    outbox = Outbox(folder / "outbox.db", lambda: START_S)
    try:
        outbox.figures()
        outbox.incidents()
        for one in outbox.due(100, 10**9):
            outbox.acknowledge(Acknowledgement(stored=(one.id,)))
    finally:
        outbox.close()


# lists of shops and grids, as anybody may send them


@_tolerant(PlacesError)
def _sheet(data: bytes) -> None:
    faults: list[Fault] = []
    kind = KINDS[data[0] % len(KINDS) if data else 0]
    table = read_table(read_sheet(data[1:]), kind.columns, kind.key, faults)
    assert all(str(one) for one in faults)
    # what was read can be written, and is the same when it is read again
    for row in table.rows:
        known = [column for column in kind.columns if column.field in row.values]
        texts = {column.field: column.text(row.values[column.field]) for column in known}
        assert values_of(kind.columns, texts) == row.values


def _sheets() -> list[bytes]:
    rows = [["店铺编号", "店铺名称", "街道", "电话"], ["tea-12", "示例茶铺", "s", "13800000000"]]
    permits = "备案编号,开始日期,星期,时段,除外日期,范围\n"
    permits += "7,2026-05-01,周一至周五,18:00-次日02:00,2026-06-01..2026-06-03,1 1;2 1;2 2"
    texts = write_csv(rows).decode("utf-8-sig")
    written = [texts.encode(one) for one in ("utf-8", "gb18030", "utf-16")]
    return [b"\0" + one for one in (*written, write_workbook(rows, "x"))] + [b"\1" + permits.encode()]


@_tolerant(PlacesError)
def _grid(data: bytes) -> None:
    faults: list[Fault] = []
    cells = grid.read_cells(grid.read_features(data), None, faults)
    assert all(str(one) for one in faults)
    assert all(area_m2(shape) > 0 for _, _, shape in cells)


def _grids() -> list[bytes]:
    crossing = collection(square("33010500100101", 1, 1)).replace(b"1.001", b"0.999", 1)
    return [collection(square("330105001001001", 120.13, 30.31), square("330105001001002", 120.1305, 30.31)), crossing]


KINDS = (SHOPS, PERMITS, CAMERAS)

TARGETS: dict[str, Target] = {
    "event": Target(_event, lambda: [bytes([n]) + one for one in _payloads() for n in range(4)], 70 * 1024),
    "acknowledgement": Target(_acknowledgement, _acknowledgements),
    "header": Target(_header, lambda: [_text_of(_deliveries()[0].properties)]),
    "topic": Target(_topic, lambda: [one.topic.encode() for one in _deliveries()], 400),
    "publish": Target(_publish, _publishes, 70 * 1024),
    "claim": Target(_claim, lambda: [make_claim().encode()], 100),
    "invitation": Target(_invitation, _invitations, 1024),
    "enrolment": Target(_enrolment, _enrolment_bodies),
    "signing-request": Target(_signing_request, _signing_requests, 4096),
    "command": Target(_command, _commands),
    "sealed": Target(_sealed, _sealed_secrets, 1024),
    "document": Target(_document, _documents),
    "standing": Target(_standing, _standings),
    "center-settings": Target(
        _center_settings, lambda: [b'{"version":1,"center":{"id":"c"},"broker":{"url":"mqtt://127.0.0.1"}}']
    ),
    "box-settings": Target(_box_settings, _box_documents),
    "record": Target(_record, _states),
    "sheet": Target(_sheet, _sheets),
    "grid": Target(_grid, _grids),
    "outbox-file": Target(_outbox_file, lambda: [b"\0\0\0S", b"\0\x10\x20\xff" * 8], 64),
}

_leak: list[bytes] = []


def _leaking(_data: bytes) -> None:
    time.sleep(0.001)
    _leak.append(b"x" * 100_000)


BROKEN: dict[str, Target] = {
    "crashing": Target(lambda data: 1 // (len(data) % 7 - 3), lambda: [b""]),
    "leaking": Target(_leaking, lambda: [b""]),
}
"""Decoders that are not: they show that crashes and growth are noticed."""
