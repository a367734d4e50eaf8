"""The cameras' settings in the state folder: which revision is in force, which is on trial, what was edited here.

`box.toml` is the seed. What differs from the seed at a start was edited on this box: it takes effect, and the center is
told what it is based on. A newer revision of the center is tried; one that the agent cannot run with is taken back.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from agent.box.twin import read_twice, write_twice
from agent.settings import BoxConfig
from protocol.desired import Desired, Edit
from protocol.settings import CamerasDocument, DocumentError, read_document

log = logging.getLogger(__name__)

FILE: Final = "settings.json"
TRIAL_STARTS: Final = 2
"""A revision that is not confirmed after so many starts of the agent is taken back."""


@dataclass(frozen=True)
class Version:
    """A document and the revision that it is, or is based on."""

    revision: int
    document: CamerasDocument

    def to_values(self) -> dict[str, Any]:
        """Write it as JSON's values."""
        return {"revision": self.revision, "document": self.document.values()}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Read it back; raises ValueError, KeyError or TypeError."""
        unknown: list[str] = []
        document = read_document(values["document"], unknown)
        if unknown:
            log.warning("%s: a newer agent, since taken back, wrote it; left out: %s", FILE, ", ".join(unknown))
        return cls(int(values["revision"]), document)


@dataclass(frozen=True)
class Standing:
    """How the settings stand.

    Args:
        seed: digest of what `box.toml` held when it was last taken over.
        now: in force.
        state: what became of `wanted`: `applied`, `pending`, `rejected` or `rolled_back`.
        wanted: the last revision of the center that this box dealt with.
        errors: why it is not in force.
        before: what is gone back to; there is one while `now` is on trial.
        starts: of the agent since the trial began.
        edit: made on this box, and not answered by the center yet.
    """

    seed: str
    now: Version
    state: str = "applied"
    wanted: int | None = None
    errors: tuple[str, ...] = ()
    before: Version | None = None
    starts: int = 0
    edit: Version | None = None

    @property
    def on_trial(self) -> bool:
        """Whether `now` may still be taken back."""
        return self.before is not None

    def reported_edit(self) -> Edit | None:
        """The edit as the center is told of it."""
        edit = self.edit
        if edit is None:
            return None
        return Edit(based_on=edit.revision, digest=edit.document.digest(), document=edit.document.values())

    def to_json(self) -> str:
        """Write it."""
        values = {
            "seed": self.seed,
            "now": self.now.to_values(),
            "state": self.state,
            "wanted": self.wanted,
            "errors": self.errors,
            "before": None if self.before is None else self.before.to_values(),
            "starts": self.starts,
            "edit": None if self.edit is None else self.edit.to_values(),
        }
        return json.dumps(values, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it back; raises ValueError, KeyError or TypeError."""
        values = json.loads(text)
        before, edit = values["before"], values["edit"]
        return cls(
            seed=str(values["seed"]),
            now=Version.of(values["now"]),
            state=str(values["state"]),
            wanted=values["wanted"],
            errors=tuple(values["errors"]),
            before=None if before is None else Version.of(before),
            starts=int(values["starts"]),
            edit=None if edit is None else Version.of(edit),
        )


def begun(seed: CamerasDocument, standing: Standing | None) -> Standing:
    """At a start of the agent: take `box.toml` over where it is new, count the starts of a trial, end a failed one."""
    digest = seed.digest()
    if standing is None:
        return Standing(digest, Version(0, seed), edit=Version(0, seed))
    if digest != standing.seed:
        edited = Version(standing.now.revision, seed)
        quiet = replace(standing, before=None, starts=0, state="applied", errors=())
        return replace(quiet, seed=digest, now=edited, edit=edited)
    if not standing.on_trial:
        return standing
    if standing.starts >= TRIAL_STARTS:
        return rolled_back(standing, f"the agent was started {standing.starts} times with it and did not last")
    return replace(standing, starts=standing.starts + 1)


def wants_trial(standing: Standing, desired: Desired) -> bool:
    """Whether a revision is new to this box: newer than what is in force, and not the one that failed.

    One that was rejected counts: what the box lacked for it may be there now.
    """
    unsettled = desired.revision != standing.wanted or standing.state == "rejected"
    return desired.revision > standing.now.revision and unsettled


def answered(standing: Standing, desired: Desired) -> Standing:
    """Forget an edit that the center has taken."""
    edit = standing.edit
    if edit is not None and desired.answers == edit.document.digest():
        return replace(standing, edit=None)
    return standing


def tried(standing: Standing, revision: int, document: CamerasDocument) -> Standing:
    """Put a revision in force, on trial; what is gone back to is what ran last without being on trial."""
    before = standing.before or standing.now
    now = Version(revision, document)
    return replace(standing, now=now, before=before, starts=0, state="pending", wanted=revision, errors=())


def confirmed(standing: Standing) -> Standing:
    """The agent runs with it."""
    state = "applied" if standing.wanted == standing.now.revision else standing.state
    return replace(standing, before=None, starts=0, state=state)


def rolled_back(standing: Standing, *why: str) -> Standing:
    """Take a trial back."""
    assert standing.before is not None  # noqa: S101 - only a trial is taken back
    failed = standing.now.revision
    return replace(standing, now=standing.before, before=None, starts=0, state="rolled_back", wanted=failed, errors=why)


def rejected(standing: Standing, revision: int, errors: tuple[str, ...]) -> Standing:
    """A revision that cannot be used; what is in force stays, and so does a trial."""
    return replace(standing, state="rejected", wanted=revision, errors=errors)


def load(folder: Path) -> Standing | None:
    """Read the state folder; None where nothing is there, or it is damaged: the center sends its revision again."""
    path = folder / FILE
    try:
        return read_twice(path, lambda content: Standing.from_json(content.decode()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, DocumentError) as fault:
        log.error("%s: damaged (%s); box.toml is taken instead", path, type(fault).__name__)  # noqa: TRY400 - no trace
        return None


def in_force(config: BoxConfig) -> BoxConfig:
    """The settings with the cameras that the agent watches, which the center may have changed since."""
    standing = None if config.settings.center is None else load(config.state_dir)
    if standing is None or standing.seed != config.document.digest():
        return config
    return config.with_cameras(standing.now.document)


def save(folder: Path, standing: Standing) -> None:
    """Write it so that it survives a cut of the power; raises OSError."""
    write_twice(folder / FILE, standing.to_json().encode())
