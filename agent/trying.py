"""Other zones tried on the hour of samples: the same pipeline on the pictures that were kept, telling nobody.

What such rare pictures cannot show is not guessed: the still scene's window is 40 s there, so that shorter dwells are
left out, and who stays is not followed.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.evidence.samples import EVERY_S, Sample
from agent.reporter import Reporter
from agent.runner import RULES, CameraRunner
from agent.uplink.executor import AnswerPicture
from agent.uplink.outbox import Outbox
from agent.vision.detector import Detections
from protocol.commands import TriedIncident, TryArguments
from protocol.messages import ClockReport, Incident, IncidentEvent
from protocol.pictures import AnswerHeader
from protocol.settings import Camera, FrontageZone, GatheringZone

LEARN_S: Final = 60.0
SHORTEST_DWELL_S: Final = 60.0
LIMIT_S: Final = 30.0
"""Commands wait for no longer than this."""
MOST: Final = 100
VIEWS: Final = ("first", "second", "third", "fourth")
"""Of the pictures that are sent: so many the center keeps of a command."""


class Remembered:
    """In place of a detector: the people whom one saw when a sample was taken."""

    input_size: Final = (320, 180)

    def __init__(self) -> None:
        self.persons = np.zeros((0, 4), np.float32)

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """The whole picture, as it is."""
        return width, height

    def resized(self, _width: int, _height: int) -> None:
        """It sees wholes only."""

    def detect(self, _rgb: NDArray[np.uint8]) -> Detections:
        """Who was there; asked again for the same sample, as for the still scene, it knows of nobody."""
        boxes, self.persons = self.persons, self.persons[:0]
        # knowing things as well, it tells people from them: who stands in front hides the place
        names = {0: "person", 1: "thing"}
        return Detections(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64), names)


@dataclass
class Trial:
    """What came of it.

    Args:
        whole: whether all samples were looked at.
    """

    samples: list[Sample] = field(default_factory=list)
    whole: bool = True
    learned: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    incidents: list[TriedIncident] = field(default_factory=list)
    pictures: list[AnswerPicture] = field(default_factory=list)


def try_out(
    samples: Iterable[Sample],
    camera: Camera,
    args: TryArguments,
    timezone: ZoneInfo,
    command: str,
    *,
    limit_s: float = LIMIT_S,
    monotonic: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Trial:
    """Run the rules over samples with another drawing; takes half of one core at most.

    Args:
        samples: oldest first.
        camera: with the settings in force.
        args: what is drawn instead.
        timezone: of active hours.
        command: the pictures are for its reply.
        limit_s: it ends after this long.
        monotonic: seconds that never jump.
        rest: sleeps.

    Raises:
        ValueError: a drawing that the camera cannot have.
    """
    zones: list[FrontageZone | GatheringZone] = []
    untried = []
    for zone in args.zone:
        if zone.dwell_s < SHORTEST_DWELL_S and isinstance(zone, FrontageZone):
            untried.append(zone.id)
        elif isinstance(zone, GatheringZone):
            zones.append(zone.model_copy(update={"counting": "detector", "loiter_s": None}))
        else:
            zones.append(zone)
    kept = camera.model_dump(exclude={"plane", "mask", "zone", "substream", "sample_s"})
    drawn = {"plane": args.plane, "mask": args.mask, "zone": tuple(zones), "sample_s": EVERY_S}
    detector, told, found = Remembered(), dict[str, list[IncidentEvent]](), Trial(untried=tuple(untried))
    now_s = 0.0
    reporter = Reporter(
        site="trial",
        box="trial",
        settings_digest="0" * 64,
        model=None,
        key=Ed25519PrivateKey.generate(),
        outbox=Outbox(None, now=lambda: now_s),
        clock=lambda: ClockReport(state="replay", boot_id="trial", uptime_s=0.0),
        tell=lambda event, _: told.setdefault(event.data.incident, []).append(event),
    )
    runner = CameraRunner(Camera(**{**kept, **drawn}), timezone, LEARN_S, detector, Masker(None), reporter)
    began_s = monotonic()
    try:
        for sample in samples:
            busy_s = time.thread_time()
            if monotonic() - began_s > limit_s:
                found.whole = False
                break
            now_s, detector.persons = sample.time_s, sample.persons
            runner.look(_frame(sample, camera, args))
            found.samples.append(sample)
            rest(time.thread_time() - busy_s)
    finally:
        reporter.outbox.close()
    unlearned = set(runner.outlook.learning_zones)
    found.learned = tuple(one.id for one in zones if isinstance(one, FrontageZone) and one.id not in unlearned)
    _tell(found, told, camera.id, command)
    return found


def _frame(sample: Sample, camera: Camera, args: TryArguments) -> Frame:
    rgb = sample.rgb()
    height, width = rgb.shape[:2]
    rgb = np.ascontiguousarray(rgb[: height // 2 * 2, : width // 2 * 2])
    for mask in (*camera.mask, *args.mask):
        corners = np.round(np.array(mask.polygon) * (width, height)).astype(np.int32)
        cv2.fillPoly(rgb, [corners], (0, 0, 0))
    return Frame(sample.time_s, key=True, planes=np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8))


def _tell(found: Trial, told: dict[str, list[IncidentEvent]], camera: str, command: str) -> None:
    for events in list(told.values())[:MOST]:
        opened, last = events[0].data, events[-1].data
        view = _picture(found, opened, camera, command)
        found.incidents.append(
            TriedIncident(
                zone=opened.zone,
                rule=opened.rule,
                opened_at=opened.opened_at,
                reported_at=opened.at,
                cleared_at=last.cleared_at,
                place=opened.place,
                area_m2=max((item.area_m2 for item in opened.items if item.area_m2 is not None), default=None),
                people=_most_people([event.data for event in events]) if opened.rule != RULES["frontage"] else None,
                picture=view,
            )
        )


def _most_people(states: Sequence[Incident]) -> int | None:
    return max((one.people.count for one in states if one.people is not None), default=None)


def _picture(found: Trial, opened: Incident, camera: str, command: str) -> str | None:
    """Send the sample of an instant, which is masked already; says as which view."""
    at_s = opened.at.timestamp()
    sample = next((one for one in found.samples if abs(one.time_s - at_s) < 0.01), None)
    if sample is None or len(found.pictures) >= len(VIEWS):
        return None
    view = VIEWS[len(found.pictures)]
    digest = hashlib.sha256(sample.jpeg).hexdigest()
    header = AnswerHeader(command=command, role="try", view=view, sha256=digest)
    found.pictures.append(AnswerPicture(camera, header, sample.jpeg))
    return view
