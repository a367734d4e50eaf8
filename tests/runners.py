"""A camera's pipeline for tests, driven by pictures on a clock of their own."""

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.camera.frame import Frame
from agent.evidence.masking import Masker
from agent.reporter import Reporter
from agent.runner import CameraRunner
from agent.uplink.outbox import Outbox
from protocol.messages import ClockReport, IncidentEvent
from protocol.settings import Camera

EPOCH_S = 1767225600.0
"""2026-01-01T00:00:00Z"""


def frame(rgb, t: float, *, sub: bool = False) -> Frame:
    """A frame of a picture `(h, w, 3)`, both even."""
    return Frame(EPOCH_S + t, key=True, planes=cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), sub=sub)


def runner(
    camera: Camera,
    tell: Callable[[IncidentEvent], None] = lambda _: None,
    *,
    learn_s: float = 10.0,
    detector=None,
    outbox: Outbox | None = None,
    state_dir: Path | None = None,
) -> CameraRunner:
    """A pipeline; `tell` gets its messages, an outbox and a state folder give it a memory."""
    reporter = Reporter(
        site="s",
        box="b",
        settings_digest="0" * 64,
        model=None,
        key=Ed25519PrivateKey.generate(),
        outbox=outbox or Outbox(None, now=lambda: EPOCH_S),
        clock=lambda: ClockReport(state="replay", boot_id="replay", uptime_s=0.0),
        tell=lambda event, _: tell(event),
    )
    return CameraRunner(camera, ZoneInfo("UTC"), learn_s, detector, Masker(None), reporter, state_dir)
