"""All that an installer should mend while still on the ladder, in the order in which one thing needs the other."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from agent import live
from agent.box.doctor import examine_certificate, examine_clock, examine_machine, examine_tls, examine_way, fix, told
from agent.box.state import StateError, StateFolder
from agent.camera.errors import CameraError
from agent.camera.examination import LOOK_S, examine
from agent.camera.source import Source
from agent.camera.views import compare_views
from agent.findings import Finding
from agent.rollout import rolled_out
from agent.settings import BoxConfig, BoxSettings
from agent.vision.detector import Detector
from agent.vision.errors import DetectorError
from agent.vision.selection import find_detector
from protocol.broker import BrokerError, probe
from protocol.documents import SettingsError
from protocol.settings import Camera

LOOKS: Final = 7
SLOW_S: Final = 0.5
AT_ONCE: Final = 4
"""Cameras that are looked at: each only waits for what comes."""


def examine_box(config: BoxConfig, *, mend: bool = False, connected: bool = False) -> Iterator[Finding]:
    """Look at machine, network, center, detector and cameras, one line each.

    Args:
        config: the settings in force.
        mend: also mend what needs no decision.
        connected: whether the agent has a line to the broker, which a second one might cut.
    """
    box, center = config.settings.box, config.settings.center
    if mend:
        yield from fix(config.secrets_file, os.geteuid(), lambda command: told(command)[0])
    try:
        with StateFolder(config.state_dir, exclusive=False):
            yield Finding("state", "ok", str(config.state_dir))
    except StateError as fault:
        yield Finding("state", "FAIL", str(fault), code="state")
        return
    yield from examine_machine(config.state_dir, box.outbox_mb * 1024 * 1024)
    yield from examine_clock(config.state_dir)
    if center is None:
        yield Finding(
            "center", "warn", "none in the settings: incidents stay on the box", "enrol this box", "no_center"
        )
    else:
        yield from examine_certificate(config.state_dir)
        way = examine_way(*center.address)
        if all(finding.state != "FAIL" for finding in way):
            way += examine_tls(center, config.folder)
        yield from way
        if connected:
            yield Finding("center", "ok", "the agent is connected")
        elif all(finding.state != "FAIL" for finding in way):
            try:
                yield Finding("center", "ok", probe(center, config.folder, f"{box.id}-doctor"))
            except BrokerError as fault:
                yield Finding("center", "FAIL", str(fault), code="broker")
    yield _detector(config)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(lambda camera: list(_camera(camera, config)), config.settings.camera):
            yield from found


def _main() -> None:
    logging.basicConfig(level=logging.ERROR)
    given = json.load(sys.stdin)
    config = BoxConfig(BoxSettings.model_validate(given["settings"]), Path(given["folder"]))
    sys.stdout.write(json.dumps([asdict(one) for one in examine_box(config, connected="connected" in sys.argv)]))


def _detector(config: BoxConfig) -> Finding:
    try:
        find_detector(config.settings.detector.model, config.folder)  # here, one that is named must be at hand
        detector = live.open_eyes(config, rolled_out=rolled_out(config)).detector
    except DetectorError as fault:
        return Finding("detector", "FAIL", str(fault), code="no_detector")
    if detector is None:
        return Finding("detector", "ok", "none, as the settings say")
    look_s = _look_s(detector)
    says = f"{detector.name}, {look_s * 1000:.0f} ms a look"
    if look_s > SLOW_S:
        todo = "try `cityeye-models tune`, a smaller model, or another board"
        return Finding("detector", "warn", says, todo, "slow_detector")
    return Finding("detector", "ok", says)


def _look_s(detector: Detector) -> float:
    width, height = detector.input_size
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    took_s = []
    for _ in range(LOOKS):
        began_s = time.perf_counter()
        detector.detect(picture)
        took_s.append(time.perf_counter() - began_s)
    return median(took_s)


def _camera(camera: Camera, config: BoxConfig) -> Iterator[Finding]:
    name = f"camera {camera.id}"
    try:
        source = Source.from_camera(camera, config)
    except (CameraError, SettingsError) as fault:
        yield Finding(name, "FAIL", str(fault), code="no_secret" if isinstance(fault, SettingsError) else "unreadable")
        return
    yield from examine_camera(source)


def examine_camera(source: Source, look_s: float = LOOK_S) -> Iterator[Finding]:
    """Look at a camera, and at its sub-stream beside it."""
    found = examine(source, look_s)
    yield from found
    sub = source.of_sub()
    if sub is None or any(finding.state == "FAIL" for finding in found):
        return
    try:
        yield Finding(f"sub-stream {source.camera}", "ok", compare_views(source, sub))
    except CameraError as fault:
        yield Finding(f"sub-stream {source.camera}", "FAIL", str(fault), code=fault.code or "other_view")


if __name__ == "__main__":
    _main()
