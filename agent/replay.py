"""Replay: the same pipeline on a recorded clip, on the clip's own clock, as fast as it can."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zoneinfo import ZoneInfo

from agent.box.identity import load_key
from agent.box.state import StateFolder
from agent.camera.errors import FilmError
from agent.camera.reader import replay as read_clip
from agent.camera.source import Source
from agent.evidence.masking import Masker
from agent.evidence.pictures import Picture
from agent.film import Film
from agent.live import Eyes
from agent.overlay import Overlay
from agent.reporter import Reporter
from agent.rules.loitering import TRACKING_FPS
from agent.runner import CameraRunner
from agent.settings import BoxConfig
from agent.uplink.outbox import Outbox
from protocol.messages import Acknowledgement, ClockReport, IncidentEvent
from protocol.pictures import PictureHeader
from protocol.settings import Camera, GatheringZone

LEARN_S: Final = 10.0


@dataclass(frozen=True)
class Replay:
    """What a replay is to do.

    Args:
        start_s: time of the clip's first frame, seconds since the epoch.
        evidence_dir: where pictures are written as `{sha256}.jpg`; None writes none.
        state_dir: the box's memory before and after; None starts with none and leaves none.
        overlay: video file that shows what the agent makes of the clip, one picture per sample; None writes none.
    """

    video: Path
    camera: Camera
    config: BoxConfig
    eyes: Eyes
    start_s: float
    evidence_dir: Path | None
    state_dir: Path | None
    overlay: Path | None = None

    def run(self, write: Callable[[IncidentEvent], None], progress: Callable[[float], None]) -> int:
        """Run the clip through; returns the number of samples.

        Args:
            write: called with each message.
            progress: called with the seconds of the clip that are done.
        """
        if self.overlay is not None and self.overlay.exists() and self.overlay.samefile(self.video):
            raise FilmError(f"{self.overlay}: expected another file than the clip itself; name a new one")
        with TemporaryDirectory(prefix="cityeye-replay-") as scratch:
            if self.state_dir is None:
                return self._run(Path(scratch), None, write, progress)
            with StateFolder(self.state_dir) as folder:
                return self._run(folder.path, folder.path, write, progress)

    def _run(
        self, folder: Path, keep: Path | None, write: Callable[[IncidentEvent], None], progress: Callable[[float], None]
    ) -> int:
        now_s = self.start_s
        timezone, masker = ZoneInfo(self.config.settings.box.timezone), Masker(self.eyes.face_model)
        overlay = Overlay(masker, timezone, self.start_s)
        outbox = Outbox(None if keep is None else keep / "outbox.db", now=lambda: now_s)

        def tell(event: IncidentEvent, pictures: Sequence[Picture]) -> None:
            self._keep_pictures(pictures)
            write(event)
            overlay.tell(event)
            # nobody else will ever fetch them from this outbox, nor want them again
            ids = [PictureHeader(incident=event.data.incident, **_place(picture)).id for picture in pictures]
            outbox.acknowledge(Acknowledgement(stored=(event.id, *ids)))
            outbox.prune(keep_s=-1.0)

        settings = self.config.settings
        reporter = Reporter(
            site=settings.box.site,
            box=settings.box.id,
            settings_digest=settings.digest(),
            model=self.eyes.model,
            key=load_key(folder),
            outbox=outbox,
            clock=lambda: ClockReport(state="replay", boot_id="replay", uptime_s=round(now_s - self.start_s, 3)),
            tell=tell,
        )
        runner = CameraRunner(
            camera=self.camera,
            timezone=timezone,
            learn_s=LEARN_S if self.camera.learn_s is None else self.camera.learn_s,
            detector=self.eyes.detector,
            masker=masker,
            reporter=reporter,
            state_dir=keep,
            crowd=self.eyes.crowd,
            shown=self.overlay is not None,
        )
        samples = 0
        try:
            with ExitStack() as stack:
                film = None
                if self.overlay is not None:
                    film = stack.enter_context(Film(self.overlay, last_s=self.camera.sample_s))
                for frame in read_clip(self._source(), self.start_s):
                    now_s = frame.time_s
                    runner.look(frame)
                    if film is not None:
                        shown = replace(runner.snapshot(now_s), hidden=runner.hidden(frame))
                        film.add(overlay.draw(frame, shown), now_s - self.start_s)
                    samples += 1
                    progress(now_s - self.start_s)
            runner.close(now_s)
        finally:
            outbox.close()
        return samples

    def _source(self) -> Source:
        """The clip; where people are followed, with as many samples as a camera would give on demand."""
        source = Source.of_clip(self.video, self.camera)
        if any(isinstance(zone, GatheringZone) and zone.loiter_s is not None for zone in self.camera.zone):
            source = replace(source, sample_s=min(source.sample_s, 1 / TRACKING_FPS))
        return source

    def _keep_pictures(self, pictures: Sequence[Picture]) -> None:
        if self.evidence_dir is not None:
            self.evidence_dir.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                (self.evidence_dir / f"{picture.evidence.sha256}.jpg").write_bytes(picture.jpeg)


def _place(picture: Picture) -> dict[str, str]:
    evidence = picture.evidence
    return {"role": evidence.role, "view": evidence.view, "sha256": evidence.sha256}
