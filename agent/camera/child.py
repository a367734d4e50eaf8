"""The reading process of one camera, forked by the `nursery`: reads a source, writes pictures into its ring."""

import os
import time
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.box import memory
from agent.camera import wire
from agent.camera.decoding import look
from agent.camera.errors import CameraError
from agent.camera.events import Decoding, Opened, Picture, Tally
from agent.camera.ring import SLOTS, Ring
from agent.camera.source import Source

_KINDS: Final = {Opened: wire.OPENED, Decoding: wire.DECODING, Tally: wire.TALLY}


@dataclass
class Desk:
    """What a reader gets from outside: the real clock, slots of the ring, and what the parent asks for.

    Args:
        orders: the pipe from the parent.
        live: the newest picture counts: where no slot is free, one is skipped; else one is waited for.
    """

    ring: Ring
    orders: wire.Reader
    live: bool
    slot: int = field(default=0, init=False)
    """That of the last picture."""
    _free: list[int] = field(default_factory=lambda: list(range(SLOTS)), init=False)
    _warm: int = field(default=-1, init=False)
    """The slot that was given back last."""
    _fps: float = field(default=0.0, init=False)
    _fps_until_s: float = field(default=0.0, init=False)
    _relieved_until_s: float = field(default=0.0, init=False)

    def monotonic(self) -> float:
        """Seconds, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def room(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """A free slot as an I420 picture; None: none is free."""
        self._listen()
        while not self._free:
            if self.live:
                return None
            self._obey()
        # the warm one, if it is free
        self.slot = self._free.pop()
        return self.ring.slot(self.slot, width, height)

    def fps(self) -> float:
        """Pictures a second that a rule wants just now."""
        self._listen()
        return self._fps if self.monotonic() < self._fps_until_s else 0.0

    def relieved(self) -> bool:
        """Whether key frames are enough just now."""
        self._listen()
        return self.monotonic() < self._relieved_until_s

    def _listen(self) -> None:
        while self.orders.ready():
            self._obey()

    def _obey(self) -> None:
        record = self.orders.read()
        if record is None:
            os._exit(0)  # nobody is there any more
        if record.kind == wire.FREE:
            # one free slot keeps its memory for the next picture, as new memory costs a fifth of what decoding does;
            # more than one would be kept for nothing, 120 MB with forty cameras
            if self.live and self._warm in self._free:
                self.ring.forget(self._warm)
            self._warm = record.values["slot"]
            self._free.append(self._warm)
        elif record.kind == wire.DEMAND:
            self._fps = record.values["fps"]
            self._fps_until_s = self.monotonic() + record.values["for_s"]
        elif record.kind == wire.RELIEF:
            self._relieved_until_s = self.monotonic() + record.values["for_s"]


def load() -> None:
    """Do once what each reading process needs."""
    memory.spare()


def run(text: str, events: int, orders: int, shared: int) -> None:
    """Read until the source ends or the parent goes away.

    Args:
        text: the source as JSON.
        events: descriptor of the pipe to the parent.
        orders: descriptor of the pipe from the parent.
        shared: descriptor of the ring's memory.
    """
    source = Source.from_json(text)
    desk = Desk(Ring(shared), wire.Reader(orders), source.live)
    try:
        for event in look(source, desk):
            if isinstance(event, Picture):
                height, width = event.planes.shape[0] * 2 // 3, event.planes.shape[1]
                wire.write(events, wire.FRAME, slot=desk.slot, t=event.t, key=event.key, width=width, height=height)
            else:
                wire.write(events, _KINDS[type(event)], **asdict(event))
        wire.write(events, wire.ENDED)
    except CameraError as fault:
        wire.write(events, wire.FAILED, text=str(fault), code=fault.code)
    except BrokenPipeError:
        pass
    except Exception as fault:  # noqa: BLE001 - whatever a library throws, its text may hold the password
        wire.write(events, wire.FAILED, text=f"the reader failed: {type(fault).__name__}")
