"""What a reader tells of its source."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

DRIFT_S: Final = 2.0
"""A live stream's time that is further than this from arrival is set anew."""
KEYS_EVERY_S: Final = 2.0
"""Key frames alone are enough where they come at least this often: 0.5 CPU-seconds a minute against 8 to 13."""
KEY_WAIT_S: Final = 90.0
"""Cameras with a key frame a minute are waited for; a stream that never has any is decoded as it comes."""


@dataclass(frozen=True)
class Opened:
    """The source is open."""

    codec: str
    width: int
    height: int
    fps: float
    shape: float | None = None
    """Width to height, as the picture is displayed; None where that is what its pixels say."""


SOFTWARE: Final = "software"


@dataclass(frozen=True)
class Decoding:
    """Who decodes from now on. Told before it begins, as hardware may take the process down, and when it fails.

    Args:
        decoder: `SOFTWARE`, or hardware and the name of its decoder.
        failed: which hardware was tried in vain, and why; empty: none.
    """

    decoder: str = SOFTWARE
    failed: str = ""

    @property
    def by_hardware(self) -> bool:
        """Whether a driver is at work, which may hang or crash."""
        return self.decoder != SOFTWARE


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, upright, with square pixels and masks burnt in; `t` is its stream time in seconds from 0.

    Args:
        planes: I420, in the room that was given for it.
    """

    t: float
    key: bool
    planes: NDArray[np.uint8]


@dataclass(frozen=True)
class Tally:
    """Data comes. What was done since the source was opened, and what there is to say of it.

    Args:
        read: packets.
        decoded: pictures.
        skipped: pictures that were due and for which there was no room, as the parent is behind.
        key_gap_s: the longest of the last distances of key frames; None while it is not known.
        waits_s: for how long no key frame has come, without which nothing can be decoded; None: one has come.
        short: whether key frames alone are too few for what is wanted.
        keyless_s: for how long no key frame has come by now.
    """

    read: int = 0
    decoded: int = 0
    skipped: int = 0
    key_gap_s: float | None = None
    waits_s: float | None = None
    short: bool = False
    keyless_s: float = 0.0


Event = Opened | Decoding | Picture | Tally
