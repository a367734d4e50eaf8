import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import messages
from protocol.ids import uuid7
from protocol.instants import from_epoch, parse_rfc3339, rfc3339
from protocol.messages import (
    MAX_JSON_BYTES,
    MAX_OPEN_INCIDENTS,
    Acknowledgement,
    BoxStatus,
    IncidentEvent,
    MessageError,
    OpenIncident,
    read_acknowledgement,
    read_event,
)
from protocol.pictures import PictureHeader, read_header

INCIDENT = {
    "incident": "018f0000-0000-7000-8000-000000000001",
    "seq": 1,
    "place_id": "p",
    "rule": "encroachment",
    "camera": "cam-1",
    "zone": "front",
    "opened_at": "2026-01-01T00:00:00Z",
    "at": "2026-01-01T00:03:00+00:00",
    "dwell_s": 180,
    "dwell_limit_s": 180,
    "visibility": "seen",
    "place": [0.1, 0.2, 0.30004, 0.4],
    "clock": {"state": "synchronised", "boot_id": "b", "uptime_s": 1},
    "settings_digest": "0" * 64,
}


def event(**changes):
    return {
        "specversion": "1.0",
        "id": f"{INCIDENT['incident']}:1",
        "source": "/cityeye/xiaohe/box-0001",
        "type": messages.INCIDENT_OPENED,
        "time": "2026-01-01T00:03:00Z",
        "datacontenttype": "application/json",
        "dataschema": messages.dataschema("incident"),
        "data": INCIDENT,
    } | changes


def read(values):
    return read_event(json.dumps(values).encode(), IncidentEvent)


def test_a_message_survives_the_wire():
    message = read(event())
    again = read_event(message.to_json(), IncidentEvent)
    assert again.to_json() == message.to_json()
    assert again.data.opened_at == message.data.opened_at


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_that_json_cannot_write_is_refused(number):
    wire = json.dumps(event()).replace('"dwell_s": 180', f'"dwell_s": {number}')
    with pytest.raises(MessageError, match="finite number"):
        read_event(wire.encode(), IncidentEvent)
    with pytest.raises(MessageError, match="finite number"):
        read_acknowledgement(b'{"later": [{"id": "a", "after_s": %s}]}' % number.encode())


def test_the_wire_has_utc_with_milliseconds_and_four_decimals():
    wire = json.loads(read(event()).to_json())
    assert wire["time"] == "2026-01-01T00:03:00.000Z"
    assert wire["data"]["place"] == [0.1, 0.2, 0.3, 0.4]


def test_readers_ignore_unknown_fields_and_keep_open_lists():
    message = read(event(extra=1, data=INCIDENT | {"mood": "calm", "rule": "littering"}))
    assert message.data.rule == "littering"


@pytest.mark.parametrize(
    ("values", "code", "text"),
    [
        (event(dataschema="urn:cityeye:schema:incident:2"), "unknown_major", "expected major version 1"),
        (event(dataschema="something"), "invalid", "expected a dataschema such as"),
        (event(dataschema=None), "invalid", "expected a dataschema such as"),
        (event(specversion="0.3"), "invalid", "specversion"),
        (event(source="/elsewhere/a/b"), "invalid", "source"),
        (event(data=INCIDENT | {"seq": 0}), "invalid", "seq"),
        (event(data=INCIDENT | {"camera": "../../etc"}), "invalid", "camera"),
        (event(data=INCIDENT | {"place": [0, 0, 2, 1]}), "invalid", "place"),
        (event(data=INCIDENT | {"at": "2026-01-01T00:00:00"}), "invalid", "at"),  # no offset: no instant
        (event(data=None), "invalid", "data"),
        ([], "not_json", "JSON object"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code(values, code, text):
    with pytest.raises(MessageError, match=text) as fault:
        read(values)
    assert fault.value.code == code


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_nothing_else(payload):
    for reader in (lambda raw: read_event(raw, IncidentEvent), read_acknowledgement):
        # anything but MessageError would show here; `{}` is an acknowledgement of nothing
        with contextlib.suppress(MessageError):
            reader(payload)


@pytest.mark.parametrize("payload", [b"[" * 60_000, b'{"a":' * 10_000, b"x" * 70_000])
def test_deep_and_huge_messages_are_refused(payload):
    with pytest.raises(MessageError):
        read_event(payload, IncidentEvent)


def test_a_status_lists_as_many_open_incidents_as_fit_or_says_nothing():
    entry = OpenIncident(incident="019b76da-a800-7000-8000-000000000000", seq=10_000)
    status = BoxStatus(state="online", boot_id="b", version="1", open_incidents=(entry,) * MAX_OPEN_INCIDENTS)
    assert len(status.model_dump_json()) < MAX_JSON_BYTES - 1024
    with pytest.raises(ValueError, match="open_incidents"):
        BoxStatus.model_validate({**status.model_dump(), "open_incidents": [entry] * (MAX_OPEN_INCIDENTS + 1)})
    # an older box says nothing, which is not the same as none
    assert BoxStatus(state="online", boot_id="b", version="1").open_incidents is None


def test_an_acknowledgement_may_tell_the_centers_time():
    assert read_acknowledgement(b'{"stored": ["a"]}').at is None
    answer = read_acknowledgement(b'{"stored": ["a"], "at": "2026-01-01T00:00:00.250Z"}')
    assert answer.at == from_epoch(1767225600.25)


@pytest.mark.parametrize("at", ['"2026-01-01T00:00:00.1119999Z"', "0.1111111111", "-0.4999"])
def test_what_is_read_is_what_would_be_written(at):
    answer = Acknowledgement.model_validate_json(f'{{"at": {at}}}')
    assert Acknowledgement.model_validate_json(answer.model_dump_json()) == answer


def test_a_picture_header_travels_in_user_properties():
    header = PictureHeader(incident="i", role="at", view="wide", sha256="a" * 64)
    assert read_header(header.to_properties()) == header
    with pytest.raises(MessageError, match="'sha256'"):
        read_header({"incident": "i", "role": "at", "view": "wide", "sha256": "../x"})


@given(st.floats(0, 4e9), st.binary(min_size=10, max_size=10))
def test_uuid7_has_its_version_and_orders_by_time(time_s, randomness):
    made = uuid7(time_s, randomness)
    assert made[14] == "7"
    assert made[19] in "89ab"
    assert uuid7(time_s + 1, randomness) > made


@given(st.floats(0, 4e9))
def test_instants_round_trip(time_s):
    instant = from_epoch(time_s)
    assert parse_rfc3339(rfc3339(instant)) == instant
