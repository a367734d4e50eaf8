"""What is kept by itself: facts after an update, packed days, reports at the end of day and month, footfall's end."""

import logging
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from collector.indicators import footfall, keeping
from collector.indicators.figures import Period
from collector.indicators.report import as_pdf, as_workbook, gather, month_of
from collector.indicators.settings import ReportsSection
from collector.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 600.0
AWAY_DAYS: Final = 7
"""Days whose reports are made later, where the collector was away."""


class Clerk:
    """A thread of the collector.

    Args:
        store: the database.
        section: which reports are kept, and where.
        folder: where that is; None: none are kept.
        center: its name, on reports.
        zone: its time zone.
        face: the typeface's name.
        now: seconds since the epoch.
        settled: whether that can be believed: else nothing is forgotten, and no report is kept.
    """

    def __init__(
        self,
        store: Store,
        section: ReportsSection,
        folder: Path | None,
        center: str,
        zone: ZoneInfo,
        face: Callable[[], str],
        now: Callable[[], float],
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._section, self._folder = store, section, folder
        self._center, self._zone, self._face, self._now, self._settled = center, zone, face, now, settled
        self._worked_out = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being made is finished first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            try:
                self.tidy()
            except Exception:
                log.exception("reports and packed days are not kept now; tried again in %.0f s", EVERY_S)
            if self._stopping.wait(EVERY_S):
                return

    def tidy(self) -> None:
        """Do all that is to be done now."""
        now = datetime.fromtimestamp(self._now(), self._zone)
        if not self._worked_out:
            for _ in keeping.work_out(self._store):
                if self._stopping.is_set():
                    return
            self._worked_out = True
        keeping.pack(self._store, self._zone, now.date())
        if not self._settled():
            return
        with self._store.writing() as session:
            footfall.forget(session, round(self._now() * 1000) - self._section.footfall_days * footfall.DAY_MS)
        if self._folder is not None and now.hour * 60 + now.minute >= self._section.after_minutes:
            for ago in range(1, AWAY_DAYS + 1):
                day = now.date() - timedelta(days=ago)
                self._keep(self._folder, day, day, day.isoformat())
            first, last = month_of(now.date().replace(day=1) - timedelta(days=1))
            self._keep(self._folder, first, last, f"{first:%Y-%m}")

    def _keep(self, kept: Path, first: date, last: date, name: str) -> None:
        with self._store.transaction() as session:
            streets = keeping.streets(session)
        for street in streets:
            folder = kept / street
            files = {kind: folder / f"{name}.{kind}" for kind in ("pdf", "xlsx")}
            if all(file.exists() for file in files.values()):
                continue
            with self._store.reading() as session:
                period = Period(first, last, (street,), self._zone)
                report = gather(session, self._center, period, round(self._now() * 1000))
            folder.mkdir(parents=True, exist_ok=True)
            language = self._section.language
            _put(files["pdf"], as_pdf(report, self._face(), language))
            _put(files["xlsx"], as_workbook(report, language))
            log.info("report %s of street %s is kept in %s", name, street, folder)


def _put(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(content)
    beside.replace(file)
