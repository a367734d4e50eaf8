"""Reading JSON that somebody else wrote."""

import json
from collections.abc import Mapping
from typing import Any

from collector.notices.http import Answer, by_status
from collector.notices.outcomes import Report, short


def read(answer: Answer | Report, *, errors_too: bool = False) -> Mapping[str, Any] | Report:
    """The JSON object of an answer, or what became of the request without one.

    Args:
        answer: what `call` returned.
        errors_too: whether answers with 4xx and 5xx have an object as well, that says more than the status.
    """
    if isinstance(answer, Report):
        return answer
    by_itself = by_status(answer)
    if by_itself is not None and not (errors_too and answer.status >= 400 and by_itself.outcome != "unsure"):
        return by_itself
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if by_itself is not None:
        return by_itself
    text = short(answer.body[:120].decode("utf-8", "replace"))
    return Report("unsure", "no_json", f"expected a JSON object, got {text or 'an empty answer'}")


def at(found: Any, path: str) -> Any:
    """What stands at a path such as `data.0.code`; None where nothing does."""
    for step in path.split("."):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found
