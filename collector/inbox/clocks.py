"""When something happened by the center's clock, where a box's own cannot be trusted.

A box writes its clock's time and says how far that can be trusted. What it wrote is kept; beside it goes the time that
the center believes.
"""

from datetime import datetime
from typing import Final

from collector.store import Box
from protocol.messages import ClockReport

TRUSTED: Final = ("synchronised", "replay")
FUTURE_MS: Final = 5 * 60 * 1000
"""A decision further ahead than this cannot be one."""
PAST_MS: Final = 1_577_836_800_000
"""2020: before it there were no boxes; a clock that lost its battery begins in 1970 or 2000."""
BETTER_MS: Final = 250
"""Smaller gains are not written down."""


def milliseconds(instant: datetime) -> int:
    """Since the epoch."""
    return round(instant.timestamp() * 1000)


def learn(box: Box, report: ClockReport, received_ms: int) -> None:
    """Keep when the box started by the center's clock, from a health report: no broker keeps one, so it is fresh."""
    started_ms = received_ms - round(report.uptime_s * 1000)
    if box.clock_boot != report.boot_id or box.started_ms is None or started_ms < box.started_ms - BETTER_MS:
        box.clock_boot, box.started_ms = report.boot_id, started_ms


def shift(box: Box, report: ClockReport, at_ms: int, received_ms: int, born_ms: int = PAST_MS) -> tuple[int, str]:
    """What to add to a box's times, in milliseconds, and by what that is known.

    `at_ms` is the message's time by the box's clock, written together with `report`; it cannot be before `born_ms`,
    when the box got its first certificate.

    Returns:
        The shift and how it is known. `told`: the box is believed; `offset`: it measured its clock against the
        center's; `uptime`: its clock makes no sense, or is far off and nobody disciplined it, but the time since its
        start is known; `received`: nothing else is known.
    """
    if report.state not in TRUSTED and report.offset_s is not None:
        by_ms = round(report.offset_s * 1000)
        if PAST_MS <= at_ms + by_ms <= received_ms + FUTURE_MS:
            return by_ms, "offset"
    told = report.state == "replay" or max(PAST_MS, born_ms - FUTURE_MS) <= at_ms <= received_ms + FUTURE_MS
    if box.clock_boot == report.boot_id and box.started_ms is not None:
        by_ms = min(box.started_ms + round(report.uptime_s * 1000), received_ms) - at_ms
        # a clock that nobody disciplined may be wrong by years and look right
        if not told or (report.state not in TRUSTED and abs(by_ms) > FUTURE_MS):
            return by_ms, "uptime"
    return (0, "told") if told else (received_ms - at_ms, "received")
