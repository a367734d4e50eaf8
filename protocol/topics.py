"""Topic names: `cityeye/1/{site}/{box}/{leaf}[/{camera}]`, where 1 is the major version of the protocol."""

import re
from dataclasses import dataclass
from typing import Final

from protocol.ids import SLUG_PATTERN

ROOT: Final = "cityeye/1"

BOX_WRITES: Final = (
    "status",
    "health",
    "camera",
    "incident",
    "evidence",
    "reply",
    "settings/reported",
    "model/reported",
    "system/reported",
)
"""Leaves that a box publishes. `status` and `camera` are retained; the broker's ACL lists exactly these."""
BOX_READS: Final = ("ack", "command", "settings/desired", "model/desired", "system/desired")
"""Leaves that a box subscribes to."""
PER_CAMERA: Final = ("camera", "incident", "evidence")
"""Leaves that end in a camera's id."""


_SLUG: Final = re.compile(SLUG_PATTERN)


@dataclass(frozen=True)
class Topic:
    """One topic, taken apart."""

    site: str
    box: str
    leaf: str
    camera: str | None = None

    def __str__(self) -> str:
        """Write the topic as the broker knows it."""
        tail = f"{self.leaf}/{self.camera}" if self.camera is not None else self.leaf
        return f"{ROOT}/{self.site}/{self.box}/{tail}"


def parse(topic: str) -> Topic:
    """Take a topic apart; raises ValueError for one that this version does not know."""
    prefix, _, rest = topic.partition(f"{ROOT}/")
    parts = rest.split("/")
    if prefix or len(parts) < 3:
        raise ValueError(f"expected a topic below {ROOT}/SITE/BOX/, got {topic!r}")
    site, box, *tail = parts
    for name in (site, box, *tail[1:]):
        if not _SLUG.fullmatch(name):
            raise ValueError(f"expected lower-case letters, digits and hyphens as an id, got {name!r:.80}")
    leaf = "/".join(tail)
    if leaf in BOX_WRITES or leaf in BOX_READS:
        if leaf not in PER_CAMERA:
            return Topic(site, box, leaf)
    elif len(tail) == 2 and tail[0] in PER_CAMERA:
        return Topic(site, box, tail[0], tail[1])
    raise ValueError(f"expected one of {', '.join((*BOX_WRITES, *BOX_READS))} after SITE/BOX/, got {leaf!r}")


def all_boxes(leaf: str) -> str:
    """Subscription of the center for one leaf of every box."""
    return f"{ROOT}/+/+/{leaf}/+" if leaf in PER_CAMERA else f"{ROOT}/+/+/{leaf}"
