"""The command line of the box: `cityeye-agent enrol | setup | check | doctor | replay | bench | …`; `run`: `start`."""

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agent import VERSION, live, plane_picture
from agent.bench import Bench
from agent.box import orders, system
from agent.box.card import apply
from agent.box.clock import Clock
from agent.box.document import in_force
from agent.box.door import Door, nobody_yet, state_dir_of
from agent.box.enrolment import EnrolmentError, enrol
from agent.box.orders import Order
from agent.box.state import StateError, StateFolder
from agent.camera.errors import CameraError
from agent.camera.reader import check_camera
from agent.camera.reader import probe as probe_clip
from agent.camera.source import Source
from agent.camera.views import compare_views
from agent.doctor import examine_box
from agent.examining import report
from agent.replay import Replay
from agent.rollout import rolled_out
from agent.settings import BoxConfig, DetectorSection, load_settings, pick_camera
from agent.setup.serving import label_of, serve
from agent.start import EXIT_FAILED, EXIT_UNUSABLE, SettingsOption, app, log_to_stderr, one_line
from agent.uplink.outbox import Outbox
from agent.vision.errors import DetectorError
from agent.vision.selection import find_detector
from protocol.broker import BrokerError, probe
from protocol.card import read_card
from protocol.documents import SettingsError, read_toml
from protocol.enrolment import Invitation, read_claim, read_fingerprint, read_url
from protocol.instants import from_epoch, parse_rfc3339, rfc3339
from protocol.messages import IncidentEvent

scene = typer.Typer(no_args_is_help=True, help="The clear scene that a camera has learned.")
app.add_typer(scene, name="scene")
card = typer.Typer(no_args_is_help=True, help="The card: cityeye.toml on the boot partition.")
app.add_typer(card, name="card")
BOX_TOML = Path("box.toml")
FIRST_TOML = """\
version = 1

# who this box is and where its center is stands in state/center: `cityeye-agent enrol` has put it there
[box]
"""


@card.command("check")
def check_card(file: Annotated[Path, typer.Argument(help="cityeye.toml", show_default=False)]) -> None:
    """Read a card as the box does, and say each mistake and what to do about it."""
    try:
        _, faults = read_card(file.read_bytes())
    except OSError as fault:
        typer.echo(f"{file}: expected a card that can be read, got: {fault.strerror}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    for one in faults:
        typer.echo(f"{one.text('zh')}\n{one.text('en')}")
    typer.echo("没有错误 / no fault" if not faults else f"{len(faults)} 处错误 / faults")
    if faults:
        raise typer.Exit(EXIT_FAILED)


@card.command("apply")
def apply_card(
    boot: Annotated[Path, typer.Option("--card", help="folder of the boot partition")] = Path("/boot/cityeye"),
    run_dir: Annotated[Path, typer.Option("--run", help="where it is carried out")] = Path("/run"),
) -> None:
    """Set network, time and logins as the card says; for root, at each start."""
    for one in apply(boot, run_dir):
        typer.echo(one.text("en"), err=True)


@app.command()
def setup(
    settings: SettingsOption,
    *,
    label: Annotated[bool, typer.Option("--label", help="say what belongs on the box's label; opens nothing")] = False,
) -> None:
    """Open the set-up page and serve it, if no agent does that here; until 30 minutes after set-up."""
    with one_line():
        try:
            if label:
                typer.echo(label_of(settings))
                return
            door = Door(state_dir_of(settings), Clock().now)
            if nobody_yet(settings):
                door.begin()
            else:
                door.open_again()
            log_to_stderr(logging.INFO)
            if not serve(settings):
                typer.echo("the agent that runs here serves it")
        except OSError as fault:
            raise StateError(f"the set-up page cannot be served: {fault.strerror}") from None


@app.command("enrol")
def enrol_box(
    label: Annotated[str | None, typer.Argument(help="all that the label's QR code says, in quotes")] = None,
    url: Annotated[str | None, typer.Option(help="https://HOST:PORT on the label, where the code was typed")] = None,
    claim: Annotated[str | None, typer.Option(help="the claim code on the label")] = None,
    ca_fingerprint: Annotated[str | None, typer.Option(help="sha256:… on the label")] = None,
    settings: Annotated[Path, typer.Option(help="box.toml; made where there is none")] = BOX_TOML,
) -> None:
    """Make this box one of a center's: get its certificate by the label's claim code. Again after a failure is fine."""
    with one_line():
        invitation = _invitation(label, url, claim, ca_fingerprint)
        values = read_toml(settings) if settings.exists() else {}
        box = values.get("box", {})
        with StateFolder(settings.resolve().parent / str(box.get("state_dir", "state"))) as folder:
            member = enrol(folder.path, invitation, VERSION, box.get("id"))
        typer.echo(f"ok    enrolled: box {member.box} at site {member.site}")
        if not settings.exists():
            settings.write_text(FIRST_TOML, "utf-8")
            typer.echo(f"ok    {settings}: made; put cameras into it, see config/box.example.toml")
        if not _check_center(load_settings(settings)):
            raise typer.Exit(EXIT_FAILED)


def _invitation(label: str | None, url: str | None, claim: str | None, fingerprint: str | None) -> Invitation:
    try:
        if label is not None:
            return Invitation.read(label)
        if url is not None and claim is not None and fingerprint is not None:
            return Invitation(read_url(url), read_claim(claim), read_fingerprint(fingerprint))
    except ValueError as fault:
        raise EnrolmentError(str(fault)) from None
    raise EnrolmentError("expected the text of the label's QR code, or all of --url, --claim and --ca-fingerprint")


@app.command()
def check(settings: SettingsOption) -> None:
    """Validate the settings, open each camera, load the detector, connect to the center: one line each."""
    with one_line():
        config = in_force(load_settings(settings))
    typer.echo(f"ok    settings {settings}: box {config.settings.box.id}, {len(config.settings.camera)} cameras")
    good = [_check_state(config), _check_detector(config)]
    good += [_check_camera(config, camera.id) for camera in config.settings.camera]
    good += [_check_center(config)]
    if not all(good):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def doctor(
    settings: SettingsOption,
    mend: Annotated[
        bool, typer.Option("--fix", help="mend what needs no decision: who reads the secrets, a clock without NTP")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="write the report there as JSON, for whoever accepts the work")
    ] = None,
) -> None:
    """Look at machine, network, center, detector and each camera, and say what to do about what is wrong.

    In Chinese where the locale says so (LANG=zh_CN.UTF-8).
    """
    with one_line():
        config = in_force(load_settings(settings))
    log_to_stderr(logging.ERROR)
    findings, chinese = [], _reads_chinese()
    for finding in examine_box(config, mend=mend):
        typer.echo(finding.line(chinese=chinese))
        findings.append(finding)
    if out is not None:
        out.write_text(report(findings, Clock().now()).model_dump_json(indent=1) + "\n", "utf-8")
    if any(finding.state == "FAIL" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _reads_chinese() -> bool:
    """As the terminal's locale says, by POSIX's order."""
    return next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "").startswith("zh")


def _line(name: str, outcome: str, *, good: bool) -> bool:
    typer.echo(f"{'ok   ' if good else 'FAIL '} {name}: {outcome}")
    return good


def _check_state(config: BoxConfig) -> bool:
    try:
        with StateFolder(config.state_dir, exclusive=False) as folder:
            return _line("state", str(folder.path), good=True)
    except StateError as fault:
        return _line("state", str(fault), good=False)


def _check_detector(config: BoxConfig) -> bool:
    try:
        find_detector(config.settings.detector.model, config.folder)  # here, one that is named must be at hand
        eyes = live.open_eyes(config, rolled_out=rolled_out(config))
    except DetectorError as fault:
        return _line("detector", str(fault), good=False)
    faces = "faces masked by " + eyes.face_model.name if eyes.face_model else "no face model: evidence is pixelated"
    if eyes.detector is None:
        return _line(
            "detector",
            f"none, as the settings say: encroachment works unnamed, crowding is unavailable; {faces}",
            good=True,
        )
    width, height = eyes.detector.input_size
    return _line("detector", f"{eyes.detector.name}, {eyes.detector.layout}, {width}x{height}; {faces}", good=True)


def _check_camera(config: BoxConfig, camera_id: str) -> bool:
    try:
        source = Source.from_camera(pick_camera(config, camera_id), config)
        good = _line(f"camera {camera_id}", check_camera(source), good=True)
        sub = source.of_sub()
        return good if sub is None else _check_sub_stream(camera_id, source, sub)
    except (CameraError, SettingsError) as fault:
        return _line(f"camera {camera_id}", str(fault), good=False)


def _check_sub_stream(camera_id: str, source: Source, sub: Source) -> bool:
    try:
        opened = check_camera(sub)
        return _line(f"sub-stream {camera_id}", f"{opened}; {compare_views(source, sub)}", good=True)
    except CameraError as fault:
        return _line(f"sub-stream {camera_id}", str(fault), good=False)


def _check_center(config: BoxConfig) -> bool:
    center = config.settings.center
    if center is None:
        return _line("center", "none in the settings: incidents stay on the box", good=True)
    try:
        return _line("center", probe(center, config.folder, f"{config.settings.box.id}-check"), good=True)
    except BrokerError as fault:
        return _line("center", str(fault), good=False)


@app.command()
def replay(
    video: Annotated[Path, typer.Argument(help="a recorded clip")],
    settings: SettingsOption,
    camera: Annotated[
        str | None, typer.Option(help="whose zones are used; needed where the settings have several")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="messages, one per line; default: standard output")] = None,
    evidence: Annotated[Path | None, typer.Option(help="folder for pictures, {sha256}.jpg")] = None,
    state: Annotated[
        Path | None, typer.Option(help="folder with the box's memory; default: none is used or left")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="video file (MP4) of the clip with everything drawn in that the agent sees")
    ] = None,
    start: Annotated[str, typer.Option(help="time of the first frame, RFC 3339")] = "2026-01-01T00:00:00Z",
) -> None:
    """Run a recorded clip through the same pipeline, on the clip's own clock, as fast as it goes."""
    console = Console(stderr=True)
    with one_line():
        config = load_settings(settings)
        try:
            start_s = parse_rfc3339(start).timestamp()
        except ValueError:
            raise SettingsError(f"--start: expected an instant such as 2026-01-01T00:00:00Z, got {start!r}") from None
        chosen = pick_camera(config, camera)
        clip = probe_clip(video)
        log_to_stderr(logging.WARNING)
        job = Replay(video, chosen, config, live.open_eyes(config), start_s, evidence, state, overlay)
        with contextlib.ExitStack() as stack:
            try:
                lines = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8"))
            except OSError as fault:
                raise SettingsError(f"--out {out}: expected a file that can be written: {fault.strerror}") from None
            bar = stack.enter_context(
                Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.percentage:3.0f} %"),
                    TimeRemainingColumn(),
                    console=console,
                    disable=not console.is_terminal,
                )
            )
            task = bar.add_task(video.name, total=clip.duration_s)

            def write(event: IncidentEvent) -> None:
                lines.write(event.to_json().decode() + "\n")
                lines.flush()

            job.run(write, lambda done_s: bar.update(task, completed=done_s))
            bar.update(task, completed=clip.duration_s)


@app.command()
def bench(
    clips: Annotated[list[Path], typer.Argument(help="recorded clips; camera n plays the n-th of them, over and over")],
    cameras: Annotated[int, typer.Option(min=1, max=500, help="how many cameras there are")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="measured, after half a minute of settling")] = 1.0,
    settings: Annotated[
        Path | None, typer.Option(help="box.toml: its detector, and its first camera's zones; default: both rules")
    ] = None,
    model: Annotated[str | None, typer.Option(help="detector: a name or a path")] = None,
    provider: Annotated[str | None, typer.Option(help="what runs it: cpu, openvino, …")] = None,
    cpu_share: Annotated[float | None, typer.Option(help="of all cores, for the detector")] = None,
) -> None:
    """Measure how many cameras this box bears: clips play as cameras do; prints JSON."""
    with one_line():
        missing = [clip for clip in clips if not clip.is_file()]
        if missing:
            raise CameraError(f"{missing[0]}: expected a video file, found none; check the path")
        config = None if settings is None else load_settings(settings)
        section = DetectorSection() if config is None else config.settings.detector
        asked = {"model": model, "provider": provider, "cpu_share": cpu_share}
        merged = section.model_dump() | {name: value for name, value in asked.items() if value is not None}
        like = config.settings.camera[0] if config is not None and config.settings.camera else None
        log_to_stderr(logging.ERROR)
        folder = Path.cwd() if config is None else config.folder
        job = Bench(clips, cameras, minutes, DetectorSection.of(merged, "bench"), folder, like)
        typer.echo(json.dumps(job.run(), indent=1))


CameraArgument = Annotated[str, typer.Argument(help="a camera's id", show_default=False)]
ZoneArgument = Annotated[str | None, typer.Argument(help="one of its zones; default: the whole view")]
SceneSettings = Annotated[Path, typer.Option("--settings", help="box.toml")]
TAKEN_S = 20.0
"""A running agent takes an order with the next picture; a camera that is away has none."""


@scene.command()
def approve(camera: CameraArgument, zone: ZoneArgument = None, settings: SceneSettings = BOX_TOML) -> None:
    """Take what stands there now for the clear place; what was reported there is withdrawn."""
    _order(settings, camera, Order("approve", zone))


@scene.command()
def reset(camera: CameraArgument, zone: ZoneArgument = None, settings: SceneSettings = BOX_TOML) -> None:
    """Forget what the clear place looks like and learn it again; what was reported there is withdrawn."""
    _order(settings, camera, Order("reset", zone))


def _order(settings: Path, camera: str, order: Order) -> None:
    with one_line():
        config = in_force(load_settings(settings))
        zones = [zone.id for zone in pick_camera(config, camera).zone]
        if order.zone is not None and order.zone not in zones:
            raise SettingsError(f"zone: expected one of {', '.join(zones)}, got {order.zone!r}")
        try:
            with StateFolder(config.state_dir):
                running = False
        except StateError:
            running = True
        clock = Clock()
        try:
            path = orders.give(config.state_dir, camera, order, clock.now())
        except OSError as fault:
            raise StateError(f"{config.state_dir}: the order cannot be left there: {fault.strerror}") from None
    if not running:
        typer.echo(f"camera {camera}: {order.verb}: no agent runs here; it is done when one starts")
        return
    until_s = clock.monotonic() + TAKEN_S
    while path.exists():
        if clock.monotonic() > until_s:
            typer.echo(
                f"camera {camera}: {order.verb}: not done within {TAKEN_S:.0f} s, as no picture comes or the scene is "
                "still being learned; it is done as soon as that is over"
            )
            raise typer.Exit(EXIT_FAILED)
        clock.sleep(0.2)
    typer.echo(f"camera {camera}: {order.verb}: done")


@app.command()
def outbox(
    settings: SceneSettings = BOX_TOML,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="have everything that is parked tried again")] = False,
) -> None:
    """Say what waits to be sent and list what was refused for good; may be used while the agent runs."""
    with one_line():
        config = load_settings(settings)
        path = config.state_dir / "outbox.db"
        if not path.is_file():
            typer.echo(f"{path}: there is none yet; the agent makes it")
            return
        budget_bytes = config.settings.box.outbox_mb * 1024 * 1024
        with contextlib.closing(Outbox(path, Clock().now, budget_bytes, owner=False)) as box:
            figures = box.figures()
            typer.echo(
                f"{figures.waiting} wait, the oldest for {figures.oldest_waiting_s:.0f} s; {figures.dropped} pictures "
                f"made room; {figures.bytes / 2**20:.0f} of {figures.budget_bytes / 2**20:.0f} MB; "
                f"{figures.parked} parked"
            )
            for one in box.parked():
                typer.echo(f"{one.id}  {rfc3339(from_epoch(one.made_s))}  {one.bytes} bytes  {one.why}")
            if retry:
                typer.echo(f"{box.retry()} are tried again")


@app.command()
def plane(
    settings: SettingsOption,
    camera: Annotated[str | None, typer.Option(help="whose plane; needed where the settings have several")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="an image or a video of this camera; default: its source is asked")
    ] = None,
    out: Annotated[Path, typer.Option(help="where the picture is written: .png or .jpg")] = Path("plane.png"),
) -> None:
    """Draw a grid of 1 m on the street, to see whether the ground plane is right, and say how large the zones are."""
    with one_line():
        config = in_force(load_settings(settings))
        chosen = pick_camera(config, camera)
        ground = plane_picture.ground_of(chosen).plane()
        drawn = plane_picture.draw(plane_picture.picture_of(chosen, config, picture), chosen)
        plane_picture.write_picture(drawn, out)
    for zone in chosen.zone:
        typer.echo(f"zone {zone.id}: {plane_picture.zone_text(zone, ground)}")
    typer.echo(f"camera {chosen.id}: {out}: lines must run along kerbs and joints, and squares must look square")


@app.command(
    "system", help="Install, confirm, deadline or boot, as root; status: which slot runs, and what an update became."
)
def system_verb(verb: str) -> None:
    """Carry out a verb of the box's two slots, as its units do."""
    raise typer.Exit(system.main([verb]))
