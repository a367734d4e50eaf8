"""What the box does for each verb of a command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as TooLate
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo

from agent import VERSION
from agent.box import diagnostics
from agent.box.door import OPEN_S
from agent.box.orders import Order
from agent.box.secrets_file import SecretsError, put_secret, read_secrets
from agent.camera.errors import CameraError
from agent.examining import examine_beside, report
from agent.rules.life import Record
from agent.settings import SECRET_VARIABLES, secret_variable
from agent.trying import try_out
from agent.uplink.executor import Answer, AnswerPicture, CommandError, Verb
from protocol.commands import (
    DiagnosticsArguments,
    ExamineArguments,
    Login,
    PlaceSeen,
    ProbeArguments,
    ResendArguments,
    RestartArguments,
    SceneArguments,
    SecretArguments,
    SetupArguments,
    SnapshotArguments,
    Tried,
    TryArguments,
    Verified,
    VerifyArguments,
)
from protocol.documents import SettingsError
from protocol.geometry import polygon_bounds
from protocol.instants import from_epoch
from protocol.messages import MAJOR
from protocol.pictures import AnswerHeader
from protocol.sealed import SealedError, open_secret
from protocol.settings import Camera

if TYPE_CHECKING:  # the agent makes these, and they work on it
    from agent.camera.frame import Frame
    from agent.evidence.pictures import Picture
    from agent.live import Agent, CameraThread
    from agent.runner import CameraRunner
    from protocol.settings import Zone

PICTURE_S: Final = 15.0
"""A camera that is well gives a picture within its `sample_s`, and when asked within a second or two."""

ANSWER_S: Final = 15.0
"""What is done with a picture takes a second or two, on a box that is busy."""

T = TypeVar("T")


def verbs_of(agent: Agent) -> dict[str, Verb]:
    """Who carries out what."""
    return {
        "snapshot": partial(_snapshot, agent),
        "probe": partial(_probe, agent),
        "verify": partial(_verify, agent),
        "scene": partial(_scene, agent),
        "secret": partial(_secret, agent),
        "restart": partial(_restart, agent),
        "diagnostics": partial(_diagnostics, agent),
        "resend": partial(_resend, agent),
        "try": partial(_try, agent),
        "setup": partial(_setup, agent),
        "examine": partial(_examine, agent),
    }


def _snapshot(agent: Agent, command: str, args: SnapshotArguments) -> Answer:
    thread = _thread(agent, args.camera)
    try:
        pictures = _asked(thread, lambda runner, frame: runner.pictures(frame, "snapshot"))
    except TooLate:
        raise CommandError("no_picture", _no_picture(thread)) from None
    (picture,) = pictures
    taken_at = picture.evidence.model_dump(mode="json")["taken_at"]
    data = {"camera": args.camera, "taken_at": taken_at, "sha256": picture.evidence.sha256}
    return Answer(data=data, pictures=_sent(command, args.camera, pictures))


def _probe(agent: Agent, command: str, args: ProbeArguments) -> Answer:
    try:
        picture, stream = agent.look_once(Camera(id=args.camera, source=args.source, credentials=args.credentials))
    except SettingsError as fault:
        raise CommandError("no_secret", str(fault)) from None
    except CameraError as fault:
        raise CommandError(fault.code or "unreadable", str(fault)) from None
    data = {"camera": args.camera, "stream": stream, "sha256": picture.evidence.sha256}
    return Answer(stream, data, _sent(command, args.camera, [picture]))


def _verify(agent: Agent, command: str, args: VerifyArguments) -> Answer:
    record = None if args.incident is None else _record(agent, args.incident)
    camera, zone_id = (args.camera, args.zone) if record is None else (record.camera, record.zone)
    thread = _thread(agent, camera)
    zone = next((one for one in thread.zones if one.id == zone_id), None)
    if zone is None:
        raise _unknown_zone(thread.camera, zone_id)

    def look(runner: CameraRunner, frame: Frame) -> tuple[Verified, list[Picture]]:
        places = runner.verify(frame, zone, record)
        first = places[0].place if len(places) == 1 else None
        # a crowd's place is full of faces; without a face model nothing of it is kept sharp
        pictures = runner.pictures(frame, "verify", first, keep=zone.kind == "frontage")
        return Verified(
            camera=thread.camera,
            zone=zone.id,
            at=from_epoch(frame.time_s),
            places=places,
            text=runner.outlook.text if any(one.state == "not_seen" for one in places) else "",
        ), pictures

    try:
        verified, pictures = _asked(thread, look)
    except TooLate:
        verified, pictures = _unseen(agent, thread, zone, record), []
    states = ", ".join(one.state for one in verified.places)
    return Answer(states, verified.model_dump(mode="json"), _sent(command, thread.camera, pictures))


def _unseen(agent: Agent, thread: CameraThread, zone: Zone, record: Record | None) -> Verified:
    place = polygon_bounds(zone.polygon) if record is None else record.place
    incident = None if record is None else record.incident
    return Verified(
        camera=thread.camera,
        zone=zone.id,
        at=from_epoch(agent.clock.now()),
        places=(PlaceSeen(place=place, state="not_seen", incident=incident),),
        text=_no_picture(thread),
    )


def _scene(agent: Agent, _command: str, args: SceneArguments) -> Answer:
    thread = _thread(agent, args.camera)
    if args.zone is not None and args.zone not in [zone.id for zone in thread.zones]:
        raise _unknown_zone(args.camera, args.zone)
    order = Order("approve" if args.action == "approve" else "reset", args.zone)
    try:
        # the scene may be that of the sub-stream
        done = _asked(thread, lambda runner, frame: runner.carry_out(order, frame.time_s), small=True)
    except TooLate:
        raise CommandError("no_picture", _no_picture(thread)) from None
    if not done:
        raise CommandError(
            "not_ready",
            f"camera {args.camera}: {args.action}: the clear scene is still being learned, or the camera does not see "
            f"well now ({thread.state}); ask again once it is live",
        )
    return Answer(f"camera {args.camera} zone {args.zone or '*'}: {args.action}: done")


def _secret(agent: Agent, command: str, args: SecretArguments) -> Answer:
    try:
        opened = open_secret(args.sealed, agent.encryption_key, agent.config.settings.box.id, command, args.name)
        login = Login.model_validate_json(opened)
    except SealedError as fault:
        raise CommandError("not_opened", str(fault)) from None
    except ValueError:
        raise CommandError("invalid", "expected user and password in the sealed secret") from None
    variable = secret_variable(args.name)
    if variable in os.environ:
        raise CommandError("overridden", f"{variable} in the box's environment goes before the file; take it out first")
    try:
        put_secret(agent.config.secrets_file, args.name, login.user, login.password)
    except SecretsError as fault:
        raise CommandError("not_written", str(fault)) from None
    cameras = agent.renew_secret(args.name)
    names = f"; started again: {', '.join(cameras)}" if cameras else "; no camera uses it yet"
    return Answer(f"secret {args.name} is set{names}", {"cameras": cameras})


def _restart(agent: Agent, _command: str, _args: RestartArguments) -> Answer:
    return Answer("the agent ends now and starts again", after=agent.restart)


def _setup(agent: Agent, _command: str, _args: SetupArguments) -> Answer:
    try:
        agent.door.open_again()
    except OSError as fault:
        raise CommandError("not_written", f"{agent.door.folder}: {fault.strerror}") from None
    address = agent.door.address(agent.config.settings.setup.port)
    return Answer(f"{address} is open for {OPEN_S / 60:.0f} minutes, for the PIN on the box", {"url": address})


def _diagnostics(agent: Agent, _command: str, _args: DiagnosticsArguments) -> Answer:
    parts = {
        "versions": {"agent": VERSION, "protocol": MAJOR},
        "settings": agent.config.settings.model_dump(mode="json"),
        "revision": None if agent.wishes is None else json.loads(agent.wishes.standing.to_json()),
        "cameras": {thread.camera: {"state": thread.state, "failures": thread.failures} for thread in agent.cameras},
        "health": agent.health().model_dump(mode="json"),
        "parked": agent.outbox.parked()[:100],
        "machine": diagnostics.machine(agent.config.state_dir),
        "writes": agent.writes.finding().line(),
    }
    text = diagnostics.bundle(parts, agent.log_tail.lines(), _known_secrets(agent, os.environ))
    return Answer("gzipped JSON in base64", {"bundle": text})


def _resend(agent: Agent, _command: str, args: ResendArguments) -> Answer:
    # the outbox notes by this box's clock when the center had a message
    offset_s = agent.clock.report().offset_s or 0.0
    count = agent.outbox.resend(args.since.timestamp() - offset_s)
    return Answer(f"{count} messages are sent again", {"messages": count})


def _try(agent: Agent, command: str, args: TryArguments) -> Answer:
    thread = _thread(agent, args.camera)
    camera = next(one for one in agent.config.settings.camera if one.id == args.camera)
    timezone = ZoneInfo(agent.config.settings.box.timezone)
    try:
        found = try_out(thread.samples, camera, args, timezone, command)
    except ValueError as fault:  # pydantic's is one
        raise CommandError("invalid", f"camera {args.camera}: it cannot have what is drawn: {fault}") from None
    seen = found.samples
    tried = Tried(
        camera=args.camera,
        samples=len(seen),
        from_at=from_epoch(seen[0].time_s) if seen else None,
        until_at=from_epoch(seen[-1].time_s) if seen else None,
        whole=found.whole,
        learned=found.learned,
        untried=found.untried,
        incidents=tuple(found.incidents),
    )
    text = f"{len(found.incidents)} incidents in {len(seen)} samples"
    return Answer(text, tried.model_dump(mode="json"), found.pictures)


def _examine(agent: Agent, _command: str, _args: ExamineArguments) -> Answer:
    if not agent.examining.acquire(blocking=False):
        raise CommandError("busy", "the doctor is looking already; its report comes")

    def look() -> Answer:
        try:
            found = [*examine_beside(agent.config, connected=agent.connected), agent.writes.finding()]
        except (OSError, subprocess.SubprocessError, ValueError) as fault:
            raise CommandError("failed", f"the doctor came to no end ({type(fault).__name__}); ask again") from None
        finally:
            agent.examining.release()
        examined = report(found, agent.clock.now())
        bad = sum(one.state == "FAIL" for one in examined.findings)
        return Answer(f"{len(found)} findings, {bad} of them FAIL", examined.model_dump(mode="json"))

    return Answer("the doctor looks; this takes a minute or two", later=look)


def _known_secrets(agent: Agent, environment: Mapping[str, str]) -> list[str]:
    found = [
        value.partition(":")[2] for name, value in environment.items() if name.upper().startswith(SECRET_VARIABLES)
    ]
    try:
        tables = read_secrets(agent.config.secrets_file)
    except SecretsError:
        return found  # what cannot be read, nobody has logged
    return found + [value for table in tables.values() for name, value in table.items() if name != "user"]


def _thread(agent: Agent, camera: str | None) -> CameraThread:
    for thread in agent.cameras:
        if thread.camera == camera:
            return thread
    known = ", ".join(thread.camera for thread in agent.cameras) or "none"
    raise CommandError("unknown_camera", f"expected a camera of this box ({known}), there is no {camera!r}")


def _unknown_zone(camera: str, zone: str | None) -> CommandError:
    return CommandError("unknown_zone", f"camera {camera}: expected one of its zones, there is no {zone!r}")


def _record(agent: Agent, incident: str) -> Record:
    for row in agent.outbox.incidents():
        if row.incident == incident:
            return Record.from_json(row.state)
    raise CommandError("unknown_incident", f"this box does not know an incident {incident!r}")


def _asked(thread: CameraThread, question: Callable[[CameraRunner, Frame], T], *, small: bool = False) -> T:
    """Ask a camera about its next picture, `small` or of its main stream; raises TimeoutError where none comes."""
    asked = thread.ask(question, small=small)
    try:
        return asked.result(PICTURE_S)
    except TooLate:
        if asked.cancel():
            raise
    # the picture came in the last moment: what was asked is being done, and cannot be taken back
    try:
        return asked.result(ANSWER_S)
    except TooLate:
        raise CommandError(
            "slow", f"camera {thread.camera}: it began, and was not done {ANSWER_S:.0f} s later; it may still be done"
        ) from None


def _no_picture(thread: CameraThread) -> str:
    of = " of its main stream" if thread.has_sub else ""
    return f"camera {thread.camera}: no picture{of} came within {PICTURE_S:.0f} s; it is {thread.state}"


def _sent(command: str, camera: str, pictures: list[Picture]) -> list[AnswerPicture]:
    return [
        AnswerPicture(
            camera,
            AnswerHeader(command=command, role=one.evidence.role, view=one.evidence.view, sha256=one.evidence.sha256),
            one.jpeg,
        )
        for one in pictures
    ]
