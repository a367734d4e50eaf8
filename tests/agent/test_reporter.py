"""From a change to what is sent, where pictures had to make room meanwhile."""

import hashlib
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.evidence.pictures import Picture
from agent.reporter import Reporter
from agent.rules.life import Breach, Sighting, ZoneLife
from agent.uplink.outbox import LOG_ROOM_BYTES, RESERVE_BYTES, Outbox
from protocol.instants import from_epoch
from protocol.messages import ClockReport, Evidence, IncidentEvent, read_event
from protocol.seal import public_key_text, seal_fault

PLACE = (0.4, 0.4, 0.2, 0.2)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def outbox(tmp_path):
    """Room for some twenty pictures."""
    outbox = Outbox(tmp_path / "outbox.db", lambda: 1000.0, LOG_ROOM_BYTES + RESERVE_BYTES + 4 * 1024 * 1024)
    yield outbox
    outbox.close()


@pytest.fixture
def reporter(outbox):
    return Reporter(
        site="s",
        box="b",
        settings_digest="0" * 64,
        model=None,
        key=KEY,
        outbox=outbox,
        clock=lambda: ClockReport(state="synchronised", boot_id="b", uptime_s=1.0),
        tell=lambda _event, _pictures: None,
    )


def picture(number, size=150_000):
    jpeg = number.to_bytes(4, "big") * (size // 4)
    evidence = Evidence(
        role="at",
        view="wide",
        sha256=hashlib.sha256(jpeg).hexdigest(),
        bytes=len(jpeg),
        media_type="image/jpeg",
        width=160,
        height=90,
        taken_at=from_epoch(1000.0),
        masked=True,
    )
    return Picture(evidence, jpeg)


def life(number):
    ids = iter(f"{number}-{letter}" for letter in "abcdefgh")
    return ZoneLife("encroachment", "cam-1", f"z{number}", None, 10.0, 5.0, lambda _time_s: next(ids))


def opened(reporter, number):
    """An incident with one picture, as a camera would report it."""
    zone = life(number)
    zone.step(1.0, [Breach(PLACE, 0.0)], lambda _: Sighting("occupied"))
    (change,) = zone.step(2.0, [Breach(PLACE, 0.0)], lambda _: Sighting("occupied"))
    zone.attach(reporter.report(change, [picture(number)]))
    return zone


def cleared(reporter, zone):
    zone.step(3.0, [], lambda _: Sighting("clear", 3.0))
    (change,) = zone.step(9.0, [], lambda _: Sighting("clear", 3.0))
    zone.attach(reporter.report(change, []))


def sent(outbox, incident):
    """All messages of an incident, in the order in which they would be sent."""
    rows = outbox._db.execute(
        "SELECT bytes FROM outgoing JOIN payload USING (number) WHERE incident = ? AND kind = 'incident'"
        " ORDER BY number",
        (incident,),
    )
    return [read_event(payload, IncidentEvent) for (payload,) in rows]


def test_incidents_whose_pictures_made_room_say_so(reporter, outbox):
    still, over, ended = opened(reporter, 0), opened(reporter, 1), opened(reporter, 2)
    cleared(reporter, over)
    (change,) = ended.withdraw(4.0)
    reporter.report(change, [])
    for number in range(3, 45):
        opened(reporter, number)
    gone = dict(outbox.dropped())
    assert len(gone) == len(outbox.dropped()) > 3
    reporter.tell_dropped(5.0)
    assert outbox.dropped() == []
    kinds = {
        zone: [event.type.rpartition(".")[2] for event in sent(outbox, incident)]
        for zone, incident in (("still", "0-a"), ("over", "1-a"), ("ended", "2-a"))
    }
    assert kinds == {
        "still": ["opened", "updated"],
        "over": ["opened", "cleared", "cleared"],
        "ended": ["opened", "ended", "ended"],
    }
    for incident, name in gone.items():
        events = sent(outbox, incident)
        assert [event.data.seq for event in events] == list(range(1, len(events) + 1))
        (entry,) = events[-1].data.evidence
        assert entry.dropped
        assert entry.sha256 in name
        assert not events[0].data.evidence[0].dropped
        # the chain holds: that it was dropped is not part of what was sealed
        assert seal_fault(incident, entry, public_key_text(KEY)) is None
    kept = sent(outbox, "44-a")
    assert [event.data.evidence[0].dropped for event in kept] == [False]
    # what is over stays over since when it was
    first, last = sent(outbox, "1-a")[1:]
    assert first.data.cleared_at == last.data.cleared_at
    assert first.data.dwell_s == last.data.dwell_s
    assert [event.data.dwell_s for event in sent(outbox, "2-a")][1:] == [4.0, 4.0]
    assert outbox.incident("1-a").open is False
    # the camera's rule goes on from there, although nobody told it
    cleared(reporter, still)
    events = sent(outbox, "0-a")
    assert [event.data.seq for event in events] == [1, 2, 3]
    assert events[-1].type.endswith("cleared")
    assert events[-1].data.evidence[0].dropped
    assert outbox.figures().dropped == len(gone)


def test_the_next_message_of_an_incident_says_it_as_well(reporter, outbox):
    zone = opened(reporter, 0)
    for number in range(3, 45):
        opened(reporter, number)
    assert outbox.dropped("0-a")
    cleared(reporter, zone)
    assert outbox.dropped("0-a") == []
    events = sent(outbox, "0-a")
    assert [event.data.seq for event in events] == [1, 2]
    assert events[-1].data.evidence[0].dropped


def test_telling_and_closing_at_once_leave_it_closed(reporter, outbox):
    """The camera closes its incidents while another thread tells what was dropped."""
    zones = [opened(reporter, number) for number in range(45)]
    closing = threading.Thread(target=lambda: [cleared(reporter, zone) for zone in zones])
    closing.start()
    reporter.tell_dropped(5.0)
    closing.join()
    for number in range(45):
        events = sent(outbox, f"{number}-a")
        assert [event.data.seq for event in events] == list(range(1, len(events) + 1))
        assert events[-1].type.endswith("cleared")
        assert not outbox.incident(f"{number}-a").open
