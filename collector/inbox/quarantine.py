"""What was refused, kept for a person to look at: bounded, so that no box fills the disk or pushes out another's."""

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from collector.inbox.reading import Reading
from collector.store import Box, Refused, lock
from protocol.messages import MessageError

log = logging.getLogger(__name__)

KEEP_PER_BOX: Final = 100
"""What no known box sent shares one such allowance."""
KEEP: Final = 10_000
MAX_HEAD: Final = 2000
"""Characters of the payload; with the texts a row is below 10 KB, all of them below 100 MB."""
QUIET_S: Final = 60.0
MAX_QUIET: Final = 1000


def keep(session: Session, refused: Sequence[tuple[Reading, str | None, MessageError]], received_ms: int) -> None:
    """Write down what a batch refused (reading, claimed id, reason), and forget the oldest."""
    boxes: dict[str, list[dict[str, object]]] = defaultdict(list)
    for reading, message_id, fault in refused:
        box = "" if reading.topic is None or session.get(Box, reading.topic.box) is None else reading.topic.box
        boxes[box].append(
            {
                "box": box,
                "topic": clean(reading.delivery.topic)[:300],
                "message_id": message_id,
                "code": fault.code,
                "text": clean(str(fault))[:500],
                "received_ms": received_ms,
                "bytes": len(reading.delivery.payload),
                "head": clean(reading.delivery.payload[:MAX_HEAD].decode("utf-8", "replace")),
            }
        )
    # several collectors: one at a time, as the last thing before the end
    lock(session, ["quarantine"])
    for rows in boxes.values():
        session.execute(insert(Refused), rows[-KEEP_PER_BOX:])
    for box in boxes:
        newest = select(Refused.id).where(Refused.box == box).order_by(Refused.id.desc()).offset(KEEP_PER_BOX).limit(1)
        session.execute(delete(Refused).where(Refused.box == box, Refused.id <= newest.scalar_subquery()))
    newest = select(Refused.id).order_by(Refused.id.desc()).offset(KEEP).limit(1)
    session.execute(delete(Refused).where(Refused.id <= newest.scalar_subquery()))


def clean(text: str) -> str:
    """The text without what a database refuses: NUL and lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


class Complaints:
    """Says in the log that something was refused: once a minute for each box, with how many there were."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def tell(self, topic: str, message_id: str | None, fault: MessageError, now_s: float) -> None:
        """Say it, or count it."""
        box = "/".join(topic.split("/", 4)[:4])[:200]
        told_s, unsaid = self._told.pop(box, (0.0, 0))
        if 0 <= now_s - told_s < QUIET_S:
            self._told[box] = (told_s, unsaid + 1)
            return
        more = f"; {unsaid} more since the last line" if unsaid else ""
        log.warning("topic %.300r message %.200r: refused (%s): %s%s", topic, message_id, fault.code, fault, more)
        self._told[box] = (now_s, 0)
        while len(self._told) > MAX_QUIET:
            self._told.popitem(last=False)
