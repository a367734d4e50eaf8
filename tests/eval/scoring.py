"""Running the real pipeline over staged scenes, and comparing its incidents with the truth."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.reporter import Reporter
from agent.runner import CameraRunner
from agent.uplink.outbox import Outbox
from agent.vision.attention import Attention
from agent.vision.counting import Eye
from protocol.geometry import box_intersection
from protocol.messages import ClockReport, Incident, IncidentEvent
from protocol.settings import Camera, FrontageZone
from tests.eval.staging import CLEAR_S, DWELL_S, LEARN_S, Scene, Stay

EPOCH_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
MARGIN_S = 15.0
"""A stay must outlast the dwell by this to have to be found; a place seen clear so long must have cleared."""


HIDES: Final = 0.3
"""Share of a place before which people stand so that it cannot be judged."""
OCCUPIES: Final = 0.1


@dataclass(frozen=True)
class Report:
    """What the agent said of one incident, in the scene's seconds."""

    place: tuple[float, float, float, float]
    opened_s: float
    """When it was decided."""
    cleared_s: float | None
    """When it was decided that it is over."""
    clear_since_s: float | None


def watch(
    pictures: Iterable[tuple[float, NDArray[np.uint8]]],
    *,
    dwell_s: float = DWELL_S,
    learn_s: float = LEARN_S,
    clear_s: float = CLEAR_S,
    sample_s: float = 1.0,
    detector: Eye | None = None,
    attention: Attention | None = None,
    notice: Callable[[float, CameraRunner], None] = lambda _t, _runner: None,
) -> list[Report]:
    """Run the camera's pipeline, whole picture a zone, over pictures.

    RGB of shape `(h, w, 3)`, or planes of luma and chroma as decoders give them (I420, shape `(3 h / 2, w)`).
    """
    said: list[IncidentEvent] = []
    zone = FrontageZone(id="front", kind="frontage", polygon=WHOLE, dwell_s=dwell_s, clear_s=clear_s)
    camera = Camera(id="cam-1", source="staged", sample_s=sample_s, zone=(zone,))
    with tempfile.TemporaryDirectory() as folder:
        now_s = EPOCH_S
        outbox = Outbox(None, now=lambda: now_s)
        reporter = Reporter(
            site="s",
            box="b",
            settings_digest="0" * 64,
            model=None,
            key=Ed25519PrivateKey.generate(),
            outbox=outbox,
            clock=lambda: ClockReport(state="replay", boot_id="replay", uptime_s=0.0),
            tell=lambda event, _: said.append(event),
        )
        parts = (camera, ZoneInfo("UTC"), learn_s, detector, Masker(None), reporter, Path(folder))
        runner = CameraRunner(*parts, attention=attention or Attention())
        try:
            for t, picture in pictures:
                now_s = EPOCH_S + t
                runner.look(Frame(now_s, key=True, planes=_planes(picture)))
                notice(t, runner)
        finally:
            outbox.close()
    return _reports(said)


def _planes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)


def _reports(said: list[IncidentEvent]) -> list[Report]:
    opened: dict[str, Incident] = {}
    cleared: dict[str, Incident] = {}
    for event in said:
        if event.data.seq == 1:
            opened[event.data.incident] = event.data
        if event.type.endswith(".cleared"):
            cleared[event.data.incident] = event.data

    def seconds(instant: datetime | None) -> float | None:
        return None if instant is None else round(instant.timestamp() - EPOCH_S, 3)

    return [
        Report(
            tuple(first.place),
            seconds(first.at) or 0.0,
            seconds(cleared[name].at) if name in cleared else None,
            seconds(cleared[name].cleared_at) if name in cleared else None,
        )
        for name, first in opened.items()
    ]


@dataclass(frozen=True)
class Verdict:
    """How one scene went."""

    found: int
    missed: int
    false: int
    delays_s: tuple[float, ...] = ()
    cleared_right: int = 0
    cleared_wrong: int = 0
    cleared_while_hidden: int = 0


def judge(scene: Scene, reports: list[Report]) -> Verdict:
    """Compare with the truth. An incident fits a stay when it covers a good part of it, or lies in it, at its time."""
    found = missed = right = wrong = while_hidden = 0
    delays = []
    used: set[int] = set()
    for stay in scene.stays:
        fitting = [n for n, report in enumerate(reports) if fits(stay, report, DWELL_S)]
        used.update(fitting)
        if not fitting:
            missed += _must_be_found(scene, stay)
            continue
        found += 1
        first = reports[fitting[0]]
        delays.append(first.opened_s - stay.span[0] - DWELL_S)
        for report in (reports[n] for n in fitting):
            good, hidden = _clearing(scene, stay, report)
            right += good
            wrong += not good
            while_hidden += hidden
    return Verdict(found, missed, len(reports) - len(used), tuple(delays), right, wrong, while_hidden)


def _must_be_found(scene: Scene, stay: Stay) -> bool:
    """Say whether a thing stood, and could be seen, for long enough beyond the dwell."""
    begin_s, end_s = stay.span[0] + DWELL_S, min(stay.span[1], scene.length_s)
    return sum(scene.hidden_share(stay.box, t) < HIDES for t in np.arange(begin_s, end_s)) >= MARGIN_S


def fits(stay: Stay, report: Report, dwell_s: float) -> bool:
    """Say whether an incident is about a stay: at its place and at its time."""
    shared = box_intersection(stay.box, report.place)
    smaller = min(stay.box[2] * stay.box[3], report.place[2] * report.place[3])
    larger = max(stay.box[2] * stay.box[3], report.place[2] * report.place[3])
    timely = stay.span[0] + dwell_s - 3 <= report.opened_s <= stay.span[1] + 5
    inside = shared >= 0.8 * report.place[2] * report.place[3]
    return timely and (inside or (shared >= 0.5 * smaller and shared >= 0.1 * larger))


def _clearing(scene: Scene, stay: Stay, report: Report) -> tuple[bool, bool]:
    """Say whether an incident cleared when, and only when, its place was seen clear; and whether it did while hidden.

    What counts is the place of the incident itself: of two things that were exchanged it may hold only one.
    """
    times_s = [float(t) for t in np.arange(report.opened_s, scene.length_s)]
    occupied_s = [t for t in times_s if scene.occupied_share(report.place, t) >= OCCUPIES]
    # a thing that is exchanged at once leaves no clear place; one that comes back later is another matter
    end_s = next((t for t, later in pairwise(occupied_s) if later - t > CLEAR_S), None)
    if end_s is None:
        end_s = occupied_s[-1] if occupied_s else report.opened_s
    seen_s = [t for t in times_s if t > end_s and scene.hidden_share(report.place, t) < HIDES]
    # from the first instant on that it had been visible for long enough
    due_s = next((t for n, t in enumerate(seen_s) if n >= CLEAR_S), scene.length_s)
    if report.cleared_s is None:
        return due_s + MARGIN_S > scene.length_s, False
    since_s = report.cleared_s if report.clear_since_s is None else report.clear_since_s
    early = since_s < end_s - 1.5
    hidden = early and any(begin <= report.cleared_s <= end for begin, end in stay.hidden)
    return not early and report.cleared_s <= due_s + MARGIN_S, hidden
