"""Settings that the center wants: checked, tried for two minutes, kept or taken back, reported.

All of it happens on the executor's thread. What is in force is on the disk before it takes effect, so that a revision
with which the agent does not last is found at the next start and taken back.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agent.box.document import (
    Standing,
    Version,
    answered,
    begun,
    confirmed,
    load,
    rejected,
    rolled_back,
    save,
    tried,
    wants_trial,
)
from agent.uplink.executor import plain
from protocol.desired import MAX_ERRORS, MAX_SETTINGS_BYTES, SETTINGS_REPORTED, DesiredEvent, Reported, ReportedEvent
from protocol.instants import from_epoch
from protocol.messages import MessageError, dataschema, read_event, source
from protocol.settings import CamerasDocument, DocumentError, read_document

log = logging.getLogger(__name__)

TRIAL_S: Final = 120.0


@dataclass
class Wishes:
    """The box's side of `settings/desired` and `settings/reported`.

    Args:
        site: the box's site.
        box: its id.
        folder: the state folder.
        seed: what `box.toml` holds.
        check: says what this box lacks for a document, in a line each.
        apply: puts a document in force and says which cameras began anew; raises where it cannot.
        failing: cameras whose pipeline has failed since it was put in force, and how.
        publish: sends on one of the box's leaves; False where there is no line.
        connects: how often the line was made.
        now: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    site: str
    box: str
    folder: Path
    seed: CamerasDocument
    check: Callable[[CamerasDocument], list[str]]
    apply: Callable[[CamerasDocument], Collection[str]]
    failing: Callable[[], Mapping[str, str]]
    publish: Callable[..., bool]
    connects: Callable[[], int]
    now: Callable[[], float]
    monotonic: Callable[[], float]
    standing: Standing = field(init=False)
    _kept: Standing | None = field(default=None, init=False)
    _tried_s: float = field(init=False)
    _failed_before: frozenset[str] = field(default=frozenset(), init=False)
    _last: bytes = field(default=b"", init=False)
    """What the center wanted last, as it came."""
    _reported: tuple[int, Standing] | None = field(default=None, init=False)
    """On which connection what was told."""

    def __post_init__(self) -> None:
        standing = begun(self.seed, load(self.folder))
        if standing.on_trial:
            missing = self.check(standing.now.document)
            standing = rolled_back(standing, *_errors(missing)) if missing else standing
        if standing.state == "rolled_back":
            log.warning("settings: revision %s is taken back: %s", standing.wanted, "; ".join(standing.errors))
        self._keep(standing)
        self._tried_s = self.monotonic()

    @property
    def document(self) -> CamerasDocument:
        """What is in force."""
        return self.standing.now.document

    def take(self, payload: bytes) -> None:
        """Take what the center wants, as it came."""
        self._last = payload
        if not payload:  # a retained wish that was taken back
            return
        try:
            desired = read_event(payload, DesiredEvent, MAX_SETTINGS_BYTES).data
        except MessageError as fault:
            log.warning("settings: %s", fault)
            revision = _claimed_revision(payload)
            if revision is not None and revision > self.standing.now.revision:
                self._keep(rejected(self.standing, revision, _errors([str(fault)])))
            return
        standing = answered(self.standing, desired)
        if not wants_trial(standing, desired):
            self._keep(standing)
            return
        try:
            document = read_document(desired.document)
            faults = self.check(document)
        except DocumentError as fault:
            faults = fault.faults
        if faults:
            log.warning("settings: revision %d is rejected: %s", desired.revision, "; ".join(faults))
            self._keep(rejected(standing, desired.revision, _errors(faults)))
        elif document == standing.now.document and not standing.on_trial:
            now = Version(desired.revision, document)
            self._keep(confirmed(Standing(standing.seed, now, wanted=desired.revision, edit=standing.edit)))
        else:
            self._try(standing, desired.revision, document)

    def edit(self, document: CamerasDocument) -> None:
        """Put in force what was drawn on this box; the center is told what it is based on."""
        missing = self.check(document)
        if missing:
            log.warning("settings: what was drawn on the box is not taken: %s", "; ".join(missing))
            return
        edited = Version(self.standing.now.revision, document)
        quiet = replace(self.standing, before=None, starts=0, state="applied", errors=())
        self._keep(replace(quiet, now=edited, edit=edited))
        self.apply(document)

    def take_again(self) -> None:
        """Take what was rejected once more: the box has got something that it may have lacked."""
        if self.standing.state == "rejected":
            self.take(self._last)

    def _try(self, standing: Standing, revision: int, document: CamerasDocument) -> None:
        log.info("settings: revision %d is on trial for %.0f s", revision, TRIAL_S)
        self._failed_before = frozenset(self.failing())
        self._keep(tried(standing, revision, document))
        self._tried_s = self.monotonic()
        try:
            # what failed with its old settings is judged anew by the new ones
            self._failed_before -= frozenset(self.apply(document))
        except Exception as fault:
            log.exception("settings: revision %d", revision)
            self._take_back(f"it cannot be put in force ({type(fault).__name__}: {fault})")

    def tick(self) -> None:
        """Judge a trial, and report what is new."""
        if self.standing.on_trial:
            new = {camera: text for camera, text in self.failing().items() if camera not in self._failed_before}
            if new:
                self._take_back(*(f"camera {camera}: its pipeline failed: {text}" for camera, text in new.items()))
            elif self.monotonic() - self._tried_s >= TRIAL_S:
                log.info("settings: revision %d is confirmed", self.standing.now.revision)
                self._keep(confirmed(self.standing))
        told = self.connects(), self.standing
        if told != self._reported and self.publish("settings/reported", self._report(), retain=True):
            self._reported = told

    def _take_back(self, *why: str) -> None:
        log.error("settings: revision %d is taken back: %s", self.standing.now.revision, "; ".join(why))
        self._keep(rolled_back(self.standing, *_errors(why)))
        self.apply(self.document)

    def _keep(self, standing: Standing) -> None:
        if standing != self._kept:
            save(self.folder, standing)
        self.standing = self._kept = standing

    def _report(self) -> bytes:
        standing, now_s = self.standing, self.now()
        event = ReportedEvent(
            id=f"{self.box}:settings:{int(now_s * 1000)}",
            source=source(self.site, self.box),
            type=SETTINGS_REPORTED,
            time=from_epoch(now_s),
            dataschema=dataschema("settings-reported"),
            data=Reported(
                revision=standing.now.revision,
                digest=standing.now.document.digest(),
                state=standing.state,
                wanted=standing.wanted,
                errors=standing.errors,
                edit=standing.reported_edit(),
            ),
        )
        return event.to_json()


def _errors(texts: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plain(text) for text in texts[:MAX_ERRORS])


def _claimed_revision(payload: bytes) -> int | None:
    """The revision of a message that cannot be used, so that its refusal can be told."""
    try:
        revision = json.loads(payload)["data"]["revision"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return revision if isinstance(revision, int) and 0 < revision <= 2**53 else None
