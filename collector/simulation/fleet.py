"""Thousands of MQTT sessions in one thread.

paho's own loop is a thread for each client; here one selector watches all sockets and calls paho when there is
something to read or write. Only connecting, which blocks, is done by a few threads beside it.
"""

import contextlib
import heapq
import itertools
import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from collector.simulation.box import Parcel, SimulatedBox
from protocol.broker import KEEPALIVE_S, MAX_PACKET_BYTES, BrokerLine, mqtt_client
from protocol.messages import Incident, MessageError, read_acknowledgement
from protocol.topics import Topic

log = logging.getLogger(__name__)

CONNECTING: Final = 8
"""Connections that are made at the same time."""
CHECK_S: Final = 5.0
"""How often paho is asked whether a ping is due; a broker is patient for half of the keep-alive more."""
MAX_DELAY_S: Final = 60.0
INFLIGHT: Final = 16
"""Publishes of one box that wait for the broker; mosquitto grants 20."""
CONNECT_TIMEOUT_S: Final = 20.0
TICK_S: Final = 0.2


@dataclass(frozen=True)
class Work:
    """What the boxes do.

    Args:
        incidents: how many are made in all; None: no end.
        rate: how many begin each second, over all boxes.
        clear_after_s: a place is seen clear after half to one and a half of this.
        health_s: between two health messages of a box.
    """

    incidents: int | None
    rate: float
    clear_after_s: float = 60.0
    health_s: float = 30.0


@dataclass
class Tally:
    """What came of it."""

    connected: int = 0
    """Boxes that the broker has let in."""
    most_connected: int = 0
    opened: int = 0
    cleared: int = 0
    stored: int = 0
    health: int = 0
    lost_lines: int = 0
    took_s: list[float] = field(default_factory=list, repr=False)
    """From a message made to the center's word that it is committed, of the last ones."""

    def took(self, share: float) -> float | None:
        """A quantile of `took_s`."""
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


KEEP_TIMES: Final = 100_000


class _Line:
    """One box's session."""

    def __init__(self, fleet: "Fleet", box: SimulatedBox, line: BrokerLine, folder: Path) -> None:
        self.box = box
        self.connected = False
        self.tries = 0
        self.socket: Any = None
        self.writing = False
        self._fleet = fleet
        self._by_mid: dict[int, str] = {}
        self.client = client = mqtt_client(line, folder, box.id)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(INFLIGHT)
        self._address = line.address

    def connect(self) -> None:
        """Connect; blocks, and is called by a thread beside the loop."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        gone = self.box.status("offline", self._fleet.now())
        self.client.will_set(gone.topic, gone.payload, 1, retain=True)
        host, port = self._address
        self.client.connect(host, port, keepalive=KEEPALIVE_S, clean_start=True, properties=properties)

    def send_due(self) -> None:
        """Publish what is due."""
        for parcel in self.box.due(self._fleet.now()):
            mid = self.publish(parcel, qos=1)
            self._by_mid[mid] = parcel.id

    def publish(self, parcel: Parcel, qos: int, *, retain: bool = False) -> int:
        """Publish; returns paho's number of it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho gives no types
        properties.ContentType = parcel.content_type
        if parcel.properties:
            properties.UserProperty = list(parcel.properties)
        return self.client.publish(parcel.topic, parcel.payload, qos, retain, properties).mid

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._fleet.tell(f"the broker refuses {self.box.id}: {code}")
            return
        self.connected, self.tries = True, 0
        tally = self._fleet.tally
        tally.connected += 1
        tally.most_connected = max(tally.most_connected, tally.connected)
        self._by_mid.clear()
        client.subscribe(str(Topic(self.box.site, self.box.id, "ack")), qos=1)
        for parcel in self.box.greeting(self._fleet.now()):
            self.publish(parcel, 1, retain=True)
        self.box.reconnected()
        self._fleet.wants_to_send(self)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if self.connected:
            self._fleet.tally.connected -= 1
            if not self._fleet.ending:
                self._fleet.tally.lost_lines += 1
                self._fleet.tell(f"the line of {self.box.id} broke ({code}); trying again")
        self.connected = False

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        message = self._by_mid.pop(mid, None)
        if message is not None and code.is_failure:
            self.box.refuse(message, f"refused by the broker: {code}")

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            answer = read_acknowledgement(bytes(message.payload))
        except MessageError as fault:
            self._fleet.tell(f"topic {message.topic}: {fault}")
            return
        took = self.box.acknowledge(answer, self._fleet.now())
        tally = self._fleet.tally
        tally.stored += len(took)
        tally.took_s += took
        del tally.took_s[:-KEEP_TIMES]
        self._fleet.wants_to_send(self)


class Fleet:
    """All boxes.

    Args:
        lines: where the broker is, and each box's own certificate.
        folder: what the paths of certificates are relative to.
        tell: takes a line for a person.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        boxes: Sequence[SimulatedBox],
        lines: Mapping[str, BrokerLine],
        folder: Path,
        work: Work,
        chance: Random,
        tell: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.now = now
        self.tell = tell
        self.tally = Tally()
        self.ending = False
        self._work = work
        self._chance = chance
        self._lines = [_Line(self, box, lines[box.id], folder) for box in boxes]
        self._selector = selectors.DefaultSelector()
        self._ready: deque[tuple[_Line, OSError | ValueError | None]] = deque()
        self._to_send: dict[_Line, None] = {}
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(CONNECTING, "connect")

    @property
    def waiting(self) -> int:
        """Messages that the center does not have yet."""
        return sum(line.box.waiting for line in self._lines)

    @property
    def refused(self) -> list[str]:
        """What will never be taken, and why."""
        return [text for line in self._lines for text in line.box.refused]

    @property
    def done(self) -> bool:
        """Whether all incidents were made, cleared and taken."""
        wanted = self._work.incidents
        return wanted is not None and self.tally.cleared == wanted and self.waiting == 0

    def wants_to_send(self, line: _Line) -> None:
        """Let a line send what is due, in the loop."""
        self._to_send[line] = None

    def run(self, going: Callable[[], bool], began: Callable[[], bool] = lambda: True) -> None:
        """Work while `going`; incidents come once `began`."""
        for line in self._lines:
            self._pool.submit(self._connect, line)
            self._at(self._chance.uniform(0, self._work.health_s), lambda line=line: self._tell_health(line))  # type: ignore[misc]  # mypy cannot infer a lambda's default
            self._at(self._chance.uniform(0, CHECK_S), lambda line=line: self._look_after(line))  # type: ignore[misc]
        self._at(0, lambda: self._make(began))
        while going():
            self._turn()
        self._say_good_bye()

    def _say_good_bye(self) -> None:
        self.ending = True
        for line in self._lines:
            if line.connected:
                line.publish(line.box.status("stopped", self.now()), 1, retain=True)
        until_s = time.monotonic() + 1
        while time.monotonic() < until_s:
            self._turn()
        for line in self._lines:
            line.client.disconnect()
        self._pool.shutdown(cancel_futures=True)
        self._selector.close()

    def _turn(self) -> None:
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        while self._ready:
            self._connected(*self._ready.popleft())
        while self._to_send:
            line, _ = self._to_send.popitem()
            if line.connected:
                line.send_due()
                self._watch(line)
        wait_s = min(TICK_S, max(0.0, self._agenda[0][0] - time.monotonic())) if self._agenda else TICK_S
        for key, events in self._selector.select(wait_s):
            self._move(key.data, events)

    def _at(self, after_s: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (time.monotonic() + after_s, next(self._numbers), what))

    # connecting

    def _connect(self, line: _Line) -> None:
        fault: OSError | ValueError | None = None
        try:
            line.connect()
        except (OSError, ValueError) as got:
            fault = got
        self._ready.append((line, fault))

    def _connected(self, line: _Line, fault: OSError | ValueError | None) -> None:
        if fault is not None:
            self.tell(f"{line.box.id} cannot connect: {fault}")
            self._again(line)
            return
        line.socket = line.client.socket()
        if line.socket is None:
            self._again(line)
            return
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._watch(line)

    def _again(self, line: _Line) -> None:
        if self.ending:
            return
        line.tries += 1
        delay_s = min(MAX_DELAY_S, 2.0 ** min(line.tries, 6)) * self._chance.uniform(0.5, 1)
        self._at(delay_s, lambda: self._pool.submit(self._connect, line))

    def _lost(self, line: _Line) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(line.socket)
        line.socket = None
        line.writing = False
        self._again(line)

    # the sockets

    def _move(self, line: _Line, events: int) -> None:
        if events & selectors.EVENT_READ:
            line.client.loop_read()
            # TLS may hold more than the socket shows
            while line.client.socket() is line.socket and getattr(line.socket, "pending", int)():
                line.client.loop_read()
        if events & selectors.EVENT_WRITE and line.client.socket() is line.socket:
            line.client.loop_write()
        self._watch(line)

    def _watch(self, line: _Line) -> None:
        if line.socket is None:
            return
        lost = line.client.socket() is not line.socket
        if lost:
            self._lost(line)
            return
        writing = line.client.want_write()
        if writing != line.writing:
            line.writing = writing
            wanted = selectors.EVENT_READ | selectors.EVENT_WRITE if writing else selectors.EVENT_READ
            self._selector.modify(line.socket, wanted, line)

    # what the boxes do

    def _look_after(self, line: _Line) -> None:
        self._at(CHECK_S, lambda: self._look_after(line))
        if line.socket is None:
            return
        line.client.loop_misc()
        due_s = line.box.next_due_s()
        if due_s is not None and due_s <= self.now():
            self.wants_to_send(line)
        self._watch(line)

    def _tell_health(self, line: _Line) -> None:
        self._at(self._work.health_s, lambda: self._tell_health(line))
        if line.connected and not self.ending:
            line.publish(line.box.health(self.now()), 0)
            self.tally.health += 1
            self._watch(line)

    def _make(self, began: Callable[[], bool]) -> None:
        if self.ending or self._work.rate == 0 or self.tally.opened == self._work.incidents:
            return
        self._at(self._chance.expovariate(self._work.rate), lambda: self._make(began))
        if not began():
            return
        line = self._chance.choice(self._lines)
        data = line.box.open(self.now())
        self.tally.opened += 1
        after_s = self._work.clear_after_s * self._chance.uniform(0.5, 1.5)
        self._at(after_s, lambda: self._clear(line, data))
        self.wants_to_send(line)

    def _clear(self, line: _Line, data: Incident) -> None:
        line.box.clear(data, self.now())
        self.tally.cleared += 1
        self.wants_to_send(line)
