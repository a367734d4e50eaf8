"""Writes the table of all calls and roles: `python -m collector.web.calls docs/ref`."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from collector.evidence.files import PictureFiles
from collector.people.actor import Role
from collector.people.rights import MAY, MEANING, PUBLIC
from collector.settings import CenterSection
from collector.store import open_store
from collector.web.app import Health, make_app
from collector.web.live import Changes
from collector.web.rights import Call, calls

NAME: Final = "rights.md"
HEAD: Final = """\
# Who may call what

Made from the code by `make docs` (`python -m collector.web.calls docs/ref`): do not edit. The rights are the table in
`collector/people/rights.py`, the calls are all routes of the pages; `tests/collector/web/test_calls.py` tries each of
them with each role.

A role is granted at a street (the site of its boxes) or at all of them, and its rights count there. Everybody who is
signed in at a page has `account.own`. Who is not signed in gets only what is public.
"""


def application() -> FastAPI:
    """The pages, put together for nothing but to be looked at."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/none.db")
        health = Health(lambda: False, lambda: False)
        try:
            return make_app(CenterSection(id="none"), store, PictureFiles(Path(folder)), Changes(), health)
        finally:
            store.close()


def page(found: Iterable[Call]) -> str:
    """The table as Markdown."""
    roles = " | ".join(Role)
    rights = [
        f"| `{right}` | {' | '.join('yes' if role in may else '' for role in Role)} | {MEANING[right]} |"
        for right, may in MAY.items()
    ]
    needing: dict[str, list[str]] = {}
    for one in sorted(found, key=lambda one: (one.path, one.method)):
        needing.setdefault(_needs(one), []).append(f"`{one.method} {one.path}`")
    return "\n".join(
        [
            HEAD,
            "## Roles and rights\n",
            f"| right | {roles} | what it is good for |",
            f"| {' | '.join(['---'] * (len(Role) + 2))} |",
            *rights,
            "\n## Calls, by the right that they need\n",
            *(f"- {needs}: {', '.join(needing[needs])}" for needs in sorted(needing)),
            "",
        ]
    )


def _needs(one: Call) -> str:
    return ", ".join(right if right == PUBLIC else f"`{right}`" for right in one.rights)


if __name__ == "__main__":
    (Path(sys.argv[1]) / NAME).write_text(page(calls(application().routes)), "utf-8")
