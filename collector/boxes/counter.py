"""What the pages hand out and take back where the center has its CA: labels with claim codes, the way to the broker."""

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from collector.boxes import labels
from collector.boxes.register import NewClaim
from collector.boxes.revocation import Lists

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counter:
    """Where boxes are given their labels.

    Args:
        url: that labels tell boxes to go to.
        fingerprint: of the CA.
        days: that a claim code is good for.
        lists: what the broker refuses.
    """

    url: str
    fingerprint: str
    days: float
    lists: Lists

    def labels(self, claims: Sequence[NewClaim]) -> list[labels.Label]:
        """What is printed for these claims."""
        return [labels.label(one, self.url, self.fingerprint) for one in claims]

    def is_refused(self, serials: Collection[str]) -> bool:
        """Whether the broker's list has all of these certificates."""
        try:
            return set(serials) <= self.lists.listed().keys()
        except (OSError, ValueError):
            return False

    def close_line(self, site: str, box: str, cameras: Sequence[str]) -> None:
        """Have the broker refuse a box that was put out; it may take a minute, on a thread of its own."""
        threading.Thread(target=self._close, args=(site, box, cameras), name="close-line", daemon=True).start()

    def _close(self, site: str, box: str, cameras: Sequence[str]) -> None:
        try:
            took_s = self.lists.in_force()
            self.lists.evict(site, box, cameras)
            log.info("box %s: out; the broker refuses it (%.0f s), and its session is closed", box, took_s)
        except Exception as fault:  # noqa: BLE001 - on a thread of its own nobody else says it
            log.error("box %s: out of the register, but the broker may still let it in: %s", box, fault)  # noqa: TRY400 - no trace
