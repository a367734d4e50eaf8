"""`cityeye-collector init | boxes … | broker …`."""

import contextlib
import grp
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from collector.boxes import broker_files, changes, labels, register, rollouts
from collector.boxes import systems as bundles
from collector.boxes.authority import (
    OWN_DAYS,
    RESERVED,
    Authority,
    AuthorityError,
    Issued,
    Usage,
    ends,
    host_name,
    private_pem,
    write_public,
    write_secret,
)
from collector.boxes.broker_files import Listener
from collector.boxes.counter import Counter
from collector.boxes.door import Door
from collector.boxes.enrolment import Desk
from collector.boxes.register import NewClaim, RegisterError
from collector.boxes.revocation import Lists
from collector.boxes.trial import Trial
from collector.commandline import (
    EXIT_FAILED,
    ListenError,
    SettingsOption,
    now_ms,
    one_line,
    open_center,
    open_data,
    system,
)
from collector.people import audit, first
from collector.settings import CenterConfig, host_and_port, load_settings
from collector.store import Box, CameraRow, Store, lock
from protocol.broker import BrokerError
from protocol.detectors import Limits
from protocol.documents import SettingsError
from protocol.ids import is_slug
from protocol.instants import from_epoch, rfc3339
from protocol.systems import SystemReported

boxes = typer.Typer(no_args_is_help=True, help="The boxes of this center: announce, list, revoke, replace.")
systems = typer.Typer(no_args_is_help=True, help="Systems of boxes that were made from an image.")
boxes.add_typer(systems, name="systems")
broker = typer.Typer(no_args_is_help=True, help="The broker's configuration, and the proof that it holds.")

BoxArgument = Annotated[str, typer.Argument(help="a box's id", show_default=False)]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="write the codes as a table")]
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="write a page of labels to print, .html")]
DaysOption = Annotated[float | None, typer.Option("--days", min=0.01, max=365, help="that the codes are good for")]
BROKER_GROUP: Final = "mosquitto"
WARN_DAYS: Final = 60


@dataclass(frozen=True)
class Office:
    """Everything that these commands work with."""

    config: CenterConfig
    store: Store
    authority: Authority

    @property
    def files(self) -> Path:
        """Folder that the broker reads."""
        return self.config.path(self.config.settings.enrolment.broker_files)

    @property
    def lists(self) -> Lists:
        """What the broker reads."""
        section = self.config.settings.enrolment
        return Lists(
            self.store,
            self.authority,
            self.files,
            section.broker_reload,
            self.config.settings.broker,
            self.config.folder,
        )


@contextlib.contextmanager
def _office(settings: Path) -> Iterator[Office]:
    with one_line():
        config = load_settings(settings)
        authority = Authority.open(config.path(config.settings.enrolment.ca))
        store = open_data(config)
        try:
            yield Office(config, store, authority)
        finally:
            store.close()


def init(
    settings: SettingsOption,
    name: Annotated[
        list[str], typer.Option("--name", help="host name or address that boxes reach this center by; several are good")
    ],
    renew: Annotated[
        bool, typer.Option("--renew", help="keep the CA; make new certificates of the broker and of this collector")
    ] = False,
    admin: Annotated[
        str | None, typer.Option("--admin", help="sign-in name of the first admin; without: it is asked for")
    ] = None,
    admin_name: Annotated[str | None, typer.Option("--admin-name", help="their name as it is shown")] = None,
    admin_password_file: Annotated[
        Path | None, typer.Option("--admin-password-file", help="a file with their password alone")
    ] = None,
) -> None:
    """Make the center's CA, its certificates, what mosquitto reads, and the first admin of the pages."""
    with one_line():
        config = load_settings(settings)
        for one in name:
            host_name(one)
        store = open_data(config)
        try:
            wanted_admin = None if renew else first.ask(store, admin, admin_name, admin_password_file)
            office = Office(config, store, _renewed(config) if renew else _created(config, store))
            _furnish(office, name)
            if renew:
                _have_read(office)
            made = None if wanted_admin is None else first.make(store, wanted_admin, now_ms())
        finally:
            store.close()
    if renew:
        typer.echo("certificates of broker, enrolment and collector are new; reload the broker, restart the collector")
        return
    typer.echo(f"CA fingerprint  sha256:{office.authority.fingerprint}")
    typer.echo(f"CA              {office.authority.folder}: back it up where nobody else reads it")
    typer.echo(f"broker          {office.files}: its mosquitto.conf replaces Debian's")
    typer.echo(first.told(wanted_admin, made, str(settings)))
    typer.echo(f"put into {settings}:\n\n{_settings(config, name[0])}")


def _renewed(config: CenterConfig) -> Authority:
    return Authority.open(config.path(config.settings.enrolment.ca))


def _created(config: CenterConfig, store: Store) -> Authority:
    folder = config.path(config.settings.enrolment.ca)
    with store.transaction() as session:
        if register.has_authority(session) and not (folder / "ca.key").exists():
            raise AuthorityError(
                f"{folder}: this center has a CA elsewhere; run this where it is, or restore it from a back-up"
            )
    return Authority.create(folder, config.settings.center.id, time.time())


def _furnish(office: Office, names: list[str]) -> None:
    """Certificates of the center's own, and what the broker reads; may be done again."""
    authority, files = office.authority, office.files
    with office.store.transaction() as session:
        if not register.has_authority(session):
            center = office.config.settings.center.id
            register.record(session, Issued(authority.certificate), "ca", f"CityEye {center}", now_ms())
    write_secret(authority.folder / "server.pem", _issue(office, "cityeye-server", "server", names))
    write_secret(authority.folder / "collector.pem", _issue(office, office.config.client_id, "collector"))
    if not files.exists():
        files.mkdir(parents=True)
        files.chmod(0o755)  # whatever the umask: the broker is another user; its key has a mode of its own
    write_public(files / "ca.crt", authority.pem.encode())
    _give_to_broker(files / "server.pem", _issue(office, "cityeye-broker", "server", names))
    if not (files / "mosquitto.conf").exists():
        write_public(files / "mosquitto.conf", broker_files.configuration(Listener(files)).encode())
    office.lists.write()


def _have_read(office: Office) -> None:
    """The files are written in any case; a broker that is not there yet reads them when it starts."""
    try:
        office.lists.read_again()
    except BrokerError as fault:
        typer.echo(str(fault), err=True)


def _settings(config: CenterConfig, host: str) -> str:
    ca = config.settings.enrolment.ca
    url_host = f"[{host}]" if ":" in host else host
    return f"""[broker]
url = "mqtts://{url_host}:8883"
ca = "{ca / "ca.crt"}"
cert = "{ca / "collector.pem"}"
key = "{ca / "collector.pem"}"

[enrolment]
listen = "0.0.0.0:8884"
url = "https://{url_host}:8884"
broker_url = "mqtts://{url_host}:8883"
"""


def _issue(office: Office, name: str, usage: Usage, hosts: list[str] | None = None) -> bytes:
    """A key and its certificate, recorded."""
    key = ec.generate_private_key(ec.SECP256R1())
    issued = office.authority.issue(key.public_key(), name, usage, time.time(), OWN_DAYS, hosts or ())
    with office.store.writing() as session:
        register.record(session, issued, usage, name, now_ms())
        detail = {"usage": usage, "serial": issued.serial, "hosts": list(hosts or ())}
        audit.record(session, system(), "certificate.issue", f"certificate/{name}", detail, now_ms())
    return private_pem(key) + issued.pem.encode()


def _give_to_broker(path: Path, pem: bytes) -> None:
    """The broker's key, for its group to read; where that cannot be arranged here, the guide says how."""
    write_secret(path, pem)
    with contextlib.suppress(KeyError, PermissionError):
        shutil.chown(path, group=grp.getgrnam(BROKER_GROUP).gr_gid)
        path.chmod(0o640)


@boxes.command()
def add(
    settings: SettingsOption,
    site: Annotated[str, typer.Option(help="where they will be", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=1000, help="how many")] = 1,
    prefix: Annotated[str | None, typer.Option(help="of their ids: PREFIX-0001 and on; default: the site")] = None,
    days: DaysOption = None,
    csv: CsvOption = None,
    page: LabelsOption = None,
) -> None:
    """Announce boxes and make a claim code for each; a code is shown this once."""
    with _office(settings) as office:
        good_days = office.config.settings.enrolment.claim_days if days is None else days
        with office.store.writing() as session:
            claims = changes.announce(session, system(), site, prefix or site, count, good_days, now_ms())
            # written before the commit: a code that nobody has is not kept
            _hand_out(office, claims, csv, page)


@boxes.command()
def renew(
    box: BoxArgument,
    settings: SettingsOption,
    days: DaysOption = None,
    csv: CsvOption = None,
    page: LabelsOption = None,
) -> None:
    """Make a new claim code for a box that is known: its certificate has expired, or its disk is new."""
    with _office(settings) as office:
        good_days = office.config.settings.enrolment.claim_days if days is None else days
        with office.store.writing() as session:
            claim = changes.renew_claim(session, system(), box, good_days, now_ms())
            _hand_out(office, [claim], csv, page)


def _free(*paths: Path | None) -> None:
    """Refuse to write over claim codes that may not have been printed yet: nobody can be told them again."""
    for path in paths:
        if path is not None and path.exists():
            raise RegisterError(f"{path}: expected a new file, it is there already; move it, or name another one")


def _hand_out(office: Office, claims: list[NewClaim], csv: Path | None, page: Path | None) -> None:
    _free(csv, page)
    url, fingerprint = _url(office.config), office.authority.fingerprint
    for path, text in ((csv, labels.as_csv), (page, labels.as_page)):
        if path is not None:
            write_secret(path, text(claims, url, fingerprint).encode())
            typer.echo(f"{path}: {len(claims)} claim codes; whoever reads one can be that box, until it is used")
    if csv is None and page is None:
        for one in claims:
            typer.echo(f"{one.box}\t{one.site}\t{one.code}\t{labels.invitation(one, url, fingerprint)}")


def _url(config: CenterConfig) -> str:
    url = config.settings.enrolment.url
    if url is None:
        raise SettingsError("[enrolment] url: expected https://HOST:PORT, found none; labels tell boxes to go there")
    return url


@boxes.command("list")
def list_boxes(settings: SettingsOption) -> None:
    """Every box: site, standing, state, when its certificate ends."""
    with open_center(settings) as (_, store), store.transaction() as session:
        for box in session.scalars(select(Box).order_by(Box.site, Box.id)):
            newest = register.newest_certificate(session, "box", box.id)
            until = "-" if newest is None else rfc3339(from_epoch(newest.not_after_ms / 1000))[:10]
            standing = f"replaced by {box.replaced_by}" if box.replaced_by else box.standing
            typer.echo(f"{box.id}\t{box.site}\t{standing}\t{box.state}\t{until}")


@boxes.command()
def revoke(box: BoxArgument, settings: SettingsOption) -> None:
    """Put a box out: its certificate ends now, its session is closed, and it is not heard any more."""
    with _office(settings) as office:
        cameras = _cameras(office.store, box)
        with office.store.writing() as session:
            site = changes.revoke(session, system(), box, now_ms())
        _enforce(office, site, box, cameras)


@boxes.command()
def replace(
    old: Annotated[str, typer.Argument(help="the box that goes", show_default=False)],
    new: Annotated[str, typer.Argument(help="the box that comes; announce it first", show_default=False)],
    settings: SettingsOption,
) -> None:
    """Put a new box in the place of an old one: cameras and settings go over, the old one is put out."""
    with _office(settings) as office:
        cameras = _cameras(office.store, old)
        with office.store.writing() as session:
            site = changes.replace(session, system(), old, new, now_ms())
        typer.echo(f"box {new}: has {len(cameras)} cameras of {old}")
        _enforce(office, site, old, cameras)


def _cameras(store: Store, box: str) -> list[str]:
    with store.transaction() as session:
        return list(session.scalars(select(CameraRow.camera).where(CameraRow.box_id == box)))


def _enforce(office: Office, site: str, box: str, cameras: list[str]) -> None:
    try:
        took_s = office.lists.in_force()
        office.lists.evict(site, box, cameras)
    except BrokerError as fault:
        typer.echo(f"box {box}: out of the register: the collector takes nothing of it; but {fault}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    typer.echo(f"box {box}: out; the broker refuses it ({took_s:.0f} s), and its session is closed")


@boxes.command()
def admit(
    box: BoxArgument,
    settings: SettingsOption,
    site: Annotated[str, typer.Option(help="where it is", show_default=False)],
) -> None:
    """Take up a box that has a certificate of this CA and is not known, as after a restored back-up."""
    with open_center(settings) as (_, store), store.writing() as session:
        if not is_slug(box) or not is_slug(site) or box.startswith(RESERVED):
            raise RegisterError(f"expected ids of lower-case letters, digits and hyphens, got {box!r} and {site!r}")
        lock(session, [f"box {box}"])
        known = session.get(Box, box)
        if known is not None and known.standing in register.OUT:
            raise RegisterError(f"box {box}: it is {known.standing}; announce a new one with `boxes add`")
        if known is None:
            known = register.new_box(box, site, now_ms())
            session.add(known)
        known.site, known.standing = site, "enrolled"
        # after a restored back-up its code would be good once more
        register.end_claims(session, box, now_ms())
        audit.record(session, system(), "boxes.admit", f"box/{box}", {"site": site}, now_ms())
    typer.echo(f"box {box}: taken up at site {site}")


@boxes.command("detector")
def add_detector(
    file: Annotated[Path, typer.Argument(help="NAME.onnx, with all weights inside", show_default=False)],
    settings: SettingsOption,
    board: Annotated[list[str], typer.Option(help="processors or boards that it is for: x86_64, *Pi 5*")],
    replaces: Annotated[list[str] | None, typer.Option(help="detectors whose place it may take; default: any")] = None,
    limit: Annotated[list[str] | None, typer.Option(help=f"NAME=NUMBER: {', '.join(Limits.model_fields)}")] = None,
) -> None:
    """Sign a detector for boxes; the page of detectors rolls it out."""
    with _office(settings) as office:
        try:
            content = file.read_bytes()
        except OSError as fault:
            raise RegisterError(f"{file}: expected an ONNX file, got: {fault.strerror}") from None
        limits = dict(one.partition("=")[::2] for one in limit or ())
        wanted = {"name": file.stem, "boards": board, "replaces": replaces or ["*"], "limits": limits}
        with office.store.writing() as session:
            one = rollouts.add(session, office.authority, system(), content, wanted, now_ms())
        typer.echo(f"detector {one.name}: SHA-256 {one.sha256}, signed with {one.limits}")


@systems.command("add")
def add_system(
    file: Annotated[Path, typer.Argument(help="FILE.raucb, as `make image` makes it", show_default=False)],
    settings: SettingsOption,
) -> None:
    """Take a signed system up, into the data directory."""
    with open_center(settings) as (config, store):
        one = bundles.add(store, system(), file, config.data_dir / bundles.FOLDER, now_ms())
        typer.echo(f"system {one.version} for {one.compatible}: SHA-256 {one.sha256}, {one.size >> 20} MB")


@systems.command("list")
def list_systems(settings: SettingsOption) -> None:
    """What is here, what boxes have, and what became of the last roll-outs."""
    with open_center(settings) as (_, store), store.transaction() as session:
        for name in rollouts.stored(session, "system"):
            typer.echo(f"here      {name}")
        for box in session.scalars(select(Box).where(Box.system.is_not(None)).order_by(Box.id)):
            had = SystemReported.model_validate_json(box.system or "")
            typer.echo(f"box       {box.id} {box.state}: {had.compatible} {had.version} slot {had.slot} {had.state}")
        for row, name in rollouts.newest(session, "system", 5):
            typer.echo(f"roll-out  {row.number}: {name} {row.state} {row.why}".rstrip())
            for one, _ in rollouts.members(session, row.number):
                typer.echo(f"  group {one.group}  {one.box_id}: {one.state} {one.text}".rstrip())


@systems.command("rollout")
def roll_out(
    version: Annotated[str, typer.Argument(help="of a system that is here", show_default=False)],
    settings: SettingsOption,
    board: Annotated[str | None, typer.Option(help="where that version is here for several")] = None,
    street: Annotated[list[str] | None, typer.Option(help="sites; default: all")] = None,
    steps: Annotated[str, typer.Option(help="percent of the boxes after each group")] = "10,50,100",
    most: Annotated[int, typer.Option(help="percent of a group that may refuse it or go back")] = rollouts.MOST,
) -> None:
    """Give a system to the boxes of its board, group after group."""
    with open_center(settings) as (_, store), store.writing() as session:
        try:
            groups = [int(one) for one in steps.split(",")]
        except ValueError:
            raise RegisterError(f"--steps: expected whole numbers such as 10,50,100, got {steps!r}") from None
        name = bundles.named(session, version, board)
        row = rollouts.start(session, system(), name, street or None, now_ms(), groups, most)
        count = len(rollouts.members(session, row.number))
        typer.echo(f"roll-out {row.number}: {name}, {count} boxes; see `boxes systems list`")


@systems.command("stop")
def stop_rollout(settings: SettingsOption) -> None:
    """Stop the roll-out that goes on; who has not taken it goes on with what it has."""
    with open_center(settings) as (_, store), store.writing() as session:
        row = rollouts.running(session)
        if row is None:
            raise RegisterError("expected a roll-out that goes on, there is none")
        rollouts.stop(session, system(), row.number, now_ms())
        typer.echo(f"roll-out {row.number}: stopped")


@broker.command("config")
def write_config(
    settings: SettingsOption,
    port: Annotated[int, typer.Option(min=1, max=65535, help="that boxes connect to")] = 8883,
    address: Annotated[str, typer.Option(help="that it binds; default: all")] = "",
    state: Annotated[Path, typer.Option(help="where mosquitto keeps what survives a restart")] = Path(
        "/var/lib/mosquitto"
    ),
    user: Annotated[str, typer.Option(help="that mosquitto becomes")] = "mosquitto",
) -> None:
    """Write mosquitto.conf, ACL and CRL anew into [enrolment] broker_files."""
    with _office(settings) as office:
        files = office.files
        text = broker_files.configuration(Listener(files, port, address, state, user))
        write_public(files / "mosquitto.conf", text.encode())
        office.lists.write()
        _have_read(office)
        typer.echo(f"{files}: written; restart mosquitto where mosquitto.conf has changed")


@broker.command()
def collector(
    name: Annotated[str, typer.Argument(help="of one more collector of this center", show_default=False)],
    settings: SettingsOption,
    out: Annotated[
        Path, typer.Option(help="the PEM file that is taken to it: certificate and key", show_default=False)
    ],
) -> None:
    """Give one more collector a certificate of its own: two with the same one would throw each other off."""
    with _office(settings) as office:
        if not is_slug(name):
            raise RegisterError(f"expected lower-case letters, digits and hyphens, got {name!r}")
        write_secret(out, _issue(office, f"{RESERVED}center-{office.config.settings.center.id}-{name}", "collector"))
        office.lists.write()
        _have_read(office)
        typer.echo(f"{out}: take it to that collector, with ca.crt, and delete it here")


@broker.command("check")
def try_broker(settings: SettingsOption) -> None:
    """Prove on the running broker that a box can do what it should and nothing else."""
    good = True
    with _office(settings) as office:
        line = office.config.settings.broker
        trial = Trial(office.authority, line, office.config.folder, office.lists.in_force)
        for finding in trial.run():
            typer.echo(
                f"{'FAIL ' if finding.fault else 'ok   '} {finding.name}{': ' * bool(finding.fault)}{finding.fault}"
            )
            good = good and not finding.fault
    if not good:
        raise typer.Exit(EXIT_FAILED)


def certificates(config: CenterConfig) -> str | None:
    """Until when the center's own certificates are good; None without a CA.

    Raises AuthorityError where one ends soon: then every box would be cut off.
    """
    folder = config.path(config.settings.enrolment.ca)
    if not (folder / "ca.key").exists():
        return None
    Authority.open(folder)
    files = (
        folder / "server.pem",
        folder / "collector.pem",
        config.path(config.settings.enrolment.broker_files) / "server.pem",
    )
    ends_s, path = min((ends(path), path) for path in files)
    day = rfc3339(from_epoch(ends_s))[:10]
    if ends_s - time.time() < WARN_DAYS * 86_400:
        raise AuthorityError(f"{path}: ends on {day}; run `cityeye-collector init --renew --name HOST` before that")
    return f"CA in {folder}; own certificates are good until {day}"


def open_door(config: CenterConfig, store: Store) -> Door | None:
    """The listener that boxes enrol at, where the settings want one; raises AuthorityError, ListenError."""
    section = config.settings.enrolment
    if section.listen is None:
        return None
    authority = Authority.open(config.path(section.ca))
    lists = Office(config, store, authority).lists
    folder = config.data_dir / bundles.FOLDER
    desk = Desk(store, authority, section.broker_url or "", section.certificate_days, time.time, lists, folder)
    try:
        return Door(host_and_port(section.listen), desk, authority.pem, authority.folder)
    except OSError as fault:
        raise ListenError(
            f"[enrolment] listen = {section.listen}: expected a free port and {authority.folder}/server.pem, "
            f"got: {fault.strerror or fault}"
        ) from None


def open_counter(config: CenterConfig, store: Store) -> Counter | None:
    """What pages give labels out with; None where the CA is elsewhere, or boxes have no address to go to."""
    section = config.settings.enrolment
    folder = config.path(section.ca)
    if section.url is None or not (folder / "ca.key").exists():
        return None
    authority = Authority.open(folder)
    return Counter(section.url, authority.fingerprint, section.claim_days, Office(config, store, authority).lists)
