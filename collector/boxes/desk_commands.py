"""`cityeye-collector command | settings …`: asking a box for something, and changing its settings.

The running collector holds the line. These put rows into the database, and wait for the rows that come of it.
"""

import base64
import contextlib
import difflib
import json
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.boxes import changes, wanted
from collector.boxes.orders import GOES_ON_MS, GRACE_MS, OPEN, OrderError, known_box
from collector.boxes.wanted import WantedError
from collector.commandline import EXIT_FAILED, JsonOption, SettingsOption, now_ms, open_center, system, who
from collector.people import audit
from collector.store import CommandPicture, CommandRow, SettingsReport, SettingsRow, Store
from protocol.commands import LIFE_S, Login
from protocol.instants import from_epoch, rfc3339
from protocol.sealed import SealedError
from protocol.settings import CamerasDocument, DocumentError, read_document

POLL_S: Final = 0.2
SETTLE_S: Final = 30.0
"""A box that is there takes new settings, or refuses them, within this time."""

settings_commands = typer.Typer(no_args_is_help=True, help="Cameras, zones and rules of a box.")
BoxArgument = Annotated[str, typer.Argument(help="a box's id", show_default=False)]


@contextlib.contextmanager
def _store(settings: Path) -> Iterator[Store]:
    with open_center(settings, OrderError, WantedError, SealedError) as (_, store):
        yield store


def command(
    box: BoxArgument,
    verb: Annotated[
        str,
        typer.Argument(help="snapshot, probe, verify, scene, secret, restart, diagnostics, resend, setup or examine"),
    ],
    settings: SettingsOption,
    *,
    camera: Annotated[str | None, typer.Option(help="a camera's id")] = None,
    zone: Annotated[str | None, typer.Option(help="one of its zones")] = None,
    incident: Annotated[str | None, typer.Option(help="verify: an incident's id, in place of camera and zone")] = None,
    action: Annotated[str | None, typer.Option(help="scene: approve or reset")] = None,
    name: Annotated[str | None, typer.Option(help="secret: what a camera's `credentials` names")] = None,
    user: Annotated[str | None, typer.Option(help="secret: the user; the password is asked for, or read")] = None,
    source: Annotated[str | None, typer.Option(help="probe: rtsp://… without user and password")] = None,
    credentials: Annotated[str | None, typer.Option(help="probe: name of a secret of the box")] = None,
    since: Annotated[str | None, typer.Option(help="resend: an instant such as 2026-05-01T00:00:00Z")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for pictures and bundles that come back")] = None,
    wait: Annotated[bool, typer.Option(help="for the reply")] = True,
    as_json: JsonOption = False,
) -> None:
    """Have a box do something; exits with 0 if it did, 1 if not, 2 if that cannot be asked."""
    given = {"camera": camera, "zone": zone, "incident": incident, "action": action, "name": name, "since": since}
    given |= {"source": source, "credentials": credentials}
    args: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with _store(settings) as store:
        asked_ms = now_ms()
        command_id = changes.new_command(asked_ms)
        login = _login(name, user) if verb == "secret" else None
        with store.writing() as session:
            if login is not None:
                args |= changes.sealed_login(session, box, command_id, name or "", login)
            changes.command(session, system(), box, verb, args, asked_ms, command_id)
            state = known_box(session, box).state
        if state != "online":
            typer.echo(f"box {box} is {state}; the command waits for at most {LIFE_S:.0f} s", err=True)
        row = _answered(store, command_id) if wait else _get(store, command_id)
        files = [] if out is None else _write(store, row, out)
    if as_json:
        typer.echo(json.dumps(_command_json(row) | {"files": [str(file) for file in files]}))
    else:
        typer.echo(_printable(f"{row.state}{f' ({row.code})' if row.code else ''} {row.text}".strip()))
        shown = {key: value for key, value in json.loads(row.data).items() if key != "bundle"}
        if shown:
            typer.echo(json.dumps(shown, indent=1))
        for file in files:
            typer.echo(file)
    if wait and row.state != "ok":
        raise typer.Exit(EXIT_FAILED)


def _login(name: str | None, user: str | None) -> Login:
    if name is None or user is None:
        raise OrderError("secret: expected --name and --user; the password is asked for, or read from standard input")
    if sys.stdin.isatty():
        password = str(typer.prompt("password", hide_input=True))
    else:
        password = sys.stdin.readline().removesuffix("\n")
    return Login(user=user, password=password)


def _get(store: Store, command_id: str) -> CommandRow:
    with store.transaction() as session:
        return session.get_one(CommandRow, command_id)


def _answered(store: Store, command_id: str) -> CommandRow:
    """Wait until a command has come to its end, or nobody is there who would say so."""
    row = _get(store, command_id)
    until_s = time.monotonic() + LIFE_S + GRACE_MS / 1000 + 10
    extended = False
    while row.state in OPEN and time.monotonic() < until_s:
        time.sleep(POLL_S)
        row = _get(store, command_id)
        if row.state == "accepted" and not extended:
            extended, until_s = True, until_s + GOES_ON_MS / 1000
    return row


def _write(store: Store, row: CommandRow, folder: Path) -> list[Path]:
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bundle = json.loads(row.data).get("bundle")
        if isinstance(bundle, str):
            files.append(folder / f"{row.id}.json.gz")
            files[-1].write_bytes(base64.b64decode(bundle))
        with store.transaction() as session:
            query = select(CommandPicture).where(CommandPicture.command_id == row.id).order_by(CommandPicture.view)
            for picture in session.scalars(query):
                files.append(folder / f"{row.id}-{picture.view}.jpg")
                files[-1].write_bytes(picture.jpeg)
    except OSError as fault:
        raise OrderError(f"--out {folder}: expected a folder that can be written, got: {fault.strerror}") from None
    except ValueError:
        raise OrderError("expected a bundle in base64, the box sent something else") from None
    return files


def _command_json(row: CommandRow) -> dict[str, Any]:
    return {
        "command": row.id,
        "box": row.box_id,
        "verb": row.verb,
        "by": row.by,
        "asked_at": _iso(row.asked_ms),
        "state": row.state,
        "code": row.code,
        "text": row.text,
        "data": json.loads(row.data),
        "replied_at": _iso(row.replied_ms),
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(from_epoch(at_ms / 1000))


@settings_commands.command()
def show(box: BoxArgument, settings: SettingsOption, as_json: JsonOption = False) -> None:
    """Print the document that is wanted, and on standard error what the box says of it."""
    with _store(settings) as store, store.transaction() as session:
        known_box(session, box)
        row, report = wanted.newest(session, box), session.get(SettingsReport, box)
    if as_json:
        document = None if row is None else json.loads(row.document)
        typer.echo(json.dumps({"wanted": _row_json(row), "reported": _report_json(report), "document": document}))
        return
    if row is None:
        typer.echo(f"box {box}: it has reported no settings yet, and none are wanted", err=True)
        raise typer.Exit(EXIT_FAILED)
    typer.echo(_line(row), err=True)
    if report is not None:
        typer.echo(f"reported at {_iso(report.received_ms)}: revision {report.revision} is in force", err=True)
    typer.echo(json.dumps(json.loads(row.document), ensure_ascii=False, indent=1))


@settings_commands.command("set")
def set_(
    box: BoxArgument,
    settings: SettingsOption,
    file: Annotated[Path | None, typer.Argument(help="TOML with [[camera]] tables, or what `show` prints")] = None,
    number: Annotated[int | None, typer.Option("--from", help="a line of `history` instead of a file")] = None,
    based_on: Annotated[int | None, typer.Option(help="refuse if there is a newer revision than this")] = None,
    wait: Annotated[bool, typer.Option(help="until the box has taken or refused it")] = True,
    as_json: JsonOption = False,
) -> None:
    """Give a box new settings; exits with 0 if it took them, 1 if not, 2 if they cannot be used."""
    with _store(settings) as store:
        with store.writing() as session:
            known_box(session, box)
            document = _document(session, box, file, number)
            row = wanted.want(session, box, document, by=who(), now_ms=now_ms(), based_on=based_on)
            told = {"number": row.number, "revision": row.revision, "digest": row.digest}
            audit.record(session, system(), "box.settings", f"box/{box}", told, now_ms())
        until_s = time.monotonic() + SETTLE_S
        while wait and row.state == "wanted" and time.monotonic() < until_s:
            time.sleep(POLL_S)
            with store.transaction() as session:
                row = session.get_one(SettingsRow, row.number)
    typer.echo(json.dumps(_row_json(row)) if as_json else _line(row))
    if wait and row.state not in ("applied", "pending"):
        raise typer.Exit(EXIT_FAILED)


@settings_commands.command("history")
def history_(box: BoxArgument, settings: SettingsOption, as_json: JsonOption = False) -> None:
    """List revisions and conflicts, newest first."""
    with _store(settings) as store, store.transaction() as session:
        known_box(session, box)
        rows = wanted.history(session, box)
    if as_json:
        typer.echo(json.dumps([_row_json(row) for row in rows]))
        return
    for row in rows:
        typer.echo(_line(row))


@settings_commands.command()
def diff(
    box: BoxArgument,
    settings: SettingsOption,
    older: Annotated[int | None, typer.Argument(help="a line of `history`; default: the last but one")] = None,
    newer: Annotated[int | None, typer.Argument(help="another; default: the last")] = None,
) -> None:
    """Show how two lines of `history` differ."""
    with _store(settings) as store, store.transaction() as session:
        known_box(session, box)
        numbers = [row.number for row in wanted.history(session, box)]
        if len(numbers) < 2 and older is None:
            raise OrderError(f"box {box}: expected two lines of history, there are {len(numbers)}")
        rows = [_row(session, box, one) for one in (older or numbers[1], newer or numbers[0])]
    texts = [json.dumps(json.loads(row.document), ensure_ascii=False, indent=1).splitlines() for row in rows]
    names = [_line(row) for row in rows]
    for line in difflib.unified_diff(texts[0], texts[1], names[0], names[1], lineterm=""):
        typer.echo(line)


def _document(session: Session, box: str, file: Path | None, number: int | None) -> CamerasDocument:
    if (file is None) == (number is None):
        raise OrderError("expected a file or --from with a line of `history`, one of both")
    try:
        if number is not None:
            return read_document(json.loads(_row(session, box, number).document))
        assert file is not None  # noqa: S101 - one of both is there
        return read_document(_values(file))
    except DocumentError as fault:
        lines = [f"{file or number}: expected settings that can be used:", *fault.faults]
        raise OrderError("\n  ".join(lines)) from None


def _values(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        values = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as fault:
        raise OrderError(f"{file}: expected TOML, or JSON in a file named .json, got: {fault}") from None
    if not isinstance(values, dict):
        raise OrderError(f"{file}: expected a table with camera in it, got something else")
    # a whole box.toml may be given: what is the box's own stays there
    return {name: value for name, value in values.items() if name not in ("box", "center", "detector")}


def _row(session: Session, box: str, number: int) -> SettingsRow:
    row = session.get(SettingsRow, number)
    if row is None or row.box_id != box:
        raise OrderError(f"box {box}: expected a line of `history`, there is no {number}")
    return row


def _line(row: SettingsRow) -> str:
    errors = "".join(f"\n  {_printable(text)}" for text in json.loads(row.errors))
    name = f"revision {row.revision}" if row.revision is not None else f"edit of revision {row.based_on}"
    return f"{row.number}: {name} by {row.by} at {_iso(row.made_ms)}: {row.state}{errors}"


def _printable(text: str) -> str:
    """What a box says, without what would steer the terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _row_json(row: SettingsRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "number": row.number,
        "box": row.box_id,
        "revision": row.revision,
        "based_on": row.based_on,
        "by": row.by,
        "made_at": _iso(row.made_ms),
        "digest": row.digest,
        "state": row.state,
        "errors": json.loads(row.errors),
    }


def _report_json(report: SettingsReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "revision": report.revision,
        "digest": report.digest,
        "state": report.state,
        "wanted": report.wanted,
        "errors": json.loads(report.errors),
        "at": _iso(report.received_ms),
    }
