"""Fields of forms, as `templates/forms.html` shows them: what stands in each, and what is wrong with it.

A form is sent to the page that shows it. What cannot be taken comes back with what was typed and a sentence at its
field; what was taken leads on by 303, so that loading the page again does nothing twice. None of it needs a script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.store import Box
from collector.web.language import N_, Text
from collector.web.rights import in_streets

Choices = Sequence[tuple[str, Text]]
Faults = Mapping[str, Sequence[Text]]
"""What is wrong, by the name of the field; empty: with the form as a whole."""
DONE: Final = {
    "saved": N_("Saved."),
    "added": N_("Added."),
    "ended": N_("Ended."),
    "same": N_("Nothing was different, so nothing was changed."),
}


@dataclass(frozen=True)
class Entry:
    """One field.

    Args:
        kind: `text`, `area` (one value on each line; its choices can be marked), `choice`, `span` (a number and its
            `unit`, of the choices), `marks` (any of the choices, one on each line), or another type of `<input>`.
        hint: what belongs there.
        listed: suggestions and what each is; anything else may be typed.
    """

    name: str
    label: Text
    value: str = ""
    kind: str = "text"
    hint: Text = ""
    required: bool = False
    choices: Choices = ()
    listed: Choices = ()
    faults: Sequence[Text] = ()
    unit: str = ""


def go(path: str, **asked: str) -> RedirectResponse:
    """On to another page."""
    query = urlencode({name: value for name, value in asked.items() if value})
    return RedirectResponse(f"{path}?{query}" if query else path, 303)


def streets(session: Session, who: Actor, right: str) -> list[str]:
    """Streets that have a box, of those at which somebody has a right."""
    own = in_streets(who, right)
    return [one for one in session.scalars(select(Box.site).distinct().order_by(Box.site)) if own is None or one in own]
