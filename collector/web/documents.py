"""The API's OpenAPI document, and the shapes of what it answers.

Nothing is checked against them as it goes out: a test does
(`tests/collector/exchange/test_openapi.py`), and what is told to hundreds of pages need not be looked at twice.

    python -m collector.web.documents docs/ref [--check]

writes `api.md`, a table of all calls.
"""

import sys
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from collector import VERSION
from collector.people.rights import OWN, PUBLIC
from collector.web.rights import calls

ABOUT: Final = """\
Tickets, places, people and notices of a street's center. A program signs in with an API token
(`Authorization: Bearer cet_…`, see docs/guide/people.md); what its owner's roles may not see is not there. Instants are
RFC 3339 in UTC with milliseconds, positions WGS84. A refusal always says `code`, `detail` and `detail_zh`.
Open311 GeoReport v2 is beside it, at `/open311/v2`: docs/guide/interfaces.md.
"""
_INSTANT: Final[dict[str, Any]] = {"format": "date-time"}


class Shape(BaseModel):
    """What an answer has, no more and no less."""

    model_config = ConfigDict(extra="forbid")


class Fault(Shape):
    """One thing that is wrong with the shape of a request."""

    loc: list[str | int]
    msg: str
    type: str


class Refusal(BaseModel):
    """Why something was not done."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    code: str = Field(description="for programs", examples=["not_yours"])
    detail: str = Field(description="what was expected, what came, what to do")
    detail_zh: str
    errors: list[Any] | None = Field(default=None, description="of a request whose shape is wrong, or of a file: each")
    allowed: list[str] | None = Field(default=None, description="of a step: what may be done now instead")


class PictureShape(Shape):
    """A picture; one that a person took says who, when, its size, and that nobody has masked faces in it."""

    role: str
    view: str
    sha256: str
    url: str
    author: str | None = None
    taken_at: str | None = Field(default=None, json_schema_extra=_INSTANT)
    width: int | None = None
    height: int | None = None
    masked: bool | None = None


class IncidentShape(Shape):
    """What a camera saw; `data` is its newest message, see docs/ref/incident.schema.json."""

    incident: str
    state: Literal["open", "cleared", "ended", "orphaned"]
    seq: int
    opened_at: str = Field(json_schema_extra=_INSTANT)
    cleared_at: str | None
    received_at: str | None
    late: bool
    clock: str
    data: dict[str, Any]
    pictures: list[PictureShape]


class ReportShape(Shape):
    """What a person reported."""

    code: str
    description: str
    address: str
    lon: float | None
    lat: float | None
    cell: str
    reference: str | None
    author: str
    pictures: list[PictureShape]


class EventShape(BaseModel):
    """One line of a time line; what else it has depends on its `kind`."""

    model_config = ConfigDict(extra="allow")

    at: str = Field(json_schema_extra=_INSTANT)
    kind: str
    message: str | None
    author: str
    reason: str | None = None
    before: dict[str, Any] | None = None


class TicketShape(Shape):
    """A ticket with all that belongs to it; `allowed` are the verbs that whoever asks may use now."""

    number: int = Field(examples=[17])
    key: str
    rule: str = Field(description="of the boxes, or the code of an event that has none", examples=["encroachment"])
    shop: str | None
    box: str | None
    camera: str
    zone: str
    source: Literal["video", "hotline", "grid", "shop", "public"]
    found: Literal["exists", "not_exist", "unable"] | None
    report: ReportShape | None
    state: str = Field(description="see docs/ref/tickets.md", examples=["pending_review"])
    open: bool
    opened_at: str = Field(json_schema_extra=_INSTANT)
    created_at: str = Field(json_schema_extra=_INSTANT)
    cleared_at: str | None
    repeat_of: int | None
    reopened: int
    late: bool
    street: str
    version: int
    present: bool
    since: str | None
    closed_at: str | None
    outcome: str | None
    due_at: str | None
    due_kind: str
    level: int
    urgency: Literal["normal", "urgent", "very_urgent"]
    offences: int
    reviewer: str | None
    reviewed_at: str | None
    reviewed_via: str | None
    told_at: str | None
    shop_due_at: str | None
    assignee: str | None
    case_number: str | None = Field(examples=["3301052026030200001"])
    permit: str | None
    duplicate_of: int | None
    paused_until: str | None
    policy: int | None
    incidents: list[IncidentShape]
    events: list[EventShape]
    allowed: list[str]


TICKET: Final[dict[int | str, dict[str, Any]]] = {200: {"model": TicketShape, "description": "The ticket"}}
TICKETS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": list[TicketShape], "description": "The newest first"}}


class SubscriptionShape(Shape):
    """A subscription of events; its secret is told once."""

    id: str
    url: str
    street: str | None
    kinds: list[str]
    active: bool
    stopped: str | None
    created_at: str = Field(json_schema_extra=_INSTANT)
    waiting: int
    parked: int
    secret: str | None = None


SUBSCRIPTION: Final[dict[int | str, dict[str, Any]]] = {201: {"model": SubscriptionShape}}
SUBSCRIPTIONS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": list[SubscriptionShape]}}
_FAULTS: Final = {
    "401": "Nobody has signed in, or the token is not good",
    "403": "Without the right that it needs",
    "404": "There is no such thing, or none at one's streets",
    "409": "It does not take that now; somebody may have been quicker",
    "422": "What came is not what the call takes",
    "4XX": "Another refusal",
    "503": "The center is busy: try again after `retry-after`",
}


def use(app: FastAPI) -> None:
    """Have the application describe itself like this."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way to do it


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    made = get_openapi(title="CityEye center", version=VERSION, description=ABOUT, routes=app.routes)
    shapes = made.setdefault("components", {}).setdefault("schemas", {})
    for gone in ("HTTPValidationError", "ValidationError"):
        shapes.pop(gone, None)
    shapes["Refusal"] = Refusal.model_json_schema()
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "an API token, `cet_…`"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-cityeye",
            "description": "of a page; a change needs `x-csrf-token` as well. On loopback it is called `cityeye`",
        },
    }
    rights = {(one.method.lower(), one.path): one.rights for one in calls(app.routes)}
    for path, operations in made["paths"].items():
        for method, one in operations.items():
            _complete(one, method, path, rights[method, path])
    return made


def _complete(one: dict[str, Any], method: str, path: str, rights: tuple[str, ...]) -> None:
    one["tags"] = [path.split("/")[2]]
    one["description"] = f"{one.get('description', '')}\n\nNeeds `{'`, `'.join(rights)}`.".strip()
    ways = () if PUBLIC in rights else ("session",) if OWN in rights else ("token", "session")
    one["security"] = [{way: []} for way in ways]
    one["responses"].pop("422", None)
    for status, text in _FAULTS.items():
        if (status == "404" and "{" not in path) or (status == "409" and method == "get"):
            continue
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
        one["responses"].setdefault(status, {"description": text, "content": content})


def table(made: dict[str, Any]) -> str:
    """All calls as a page."""
    lines = [
        "# 接口一览 / Calls of the API",
        "",
        "Made from the code by `python -m collector.web.documents docs/ref`; a test compares. The whole document, with",
        "all shapes, is at `/api/openapi.json` of every center; how to use it: [interfaces](../guide/interfaces.md).",
        "",
        "| call | | parameters |",
        "| --- | --- | --- |",
    ]
    for path, operations in sorted(made["paths"].items()):
        for method, one in operations.items():
            names = ", ".join(f"`{each['name']}`" for each in one.get("parameters", []) if each["in"] == "query")
            lines.append(f"| `{method.upper()} {path}` | {one['summary']} | {names} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    from collector.web.calls import application  # noqa: PLC0415 - it imports this

    path, text = Path(arguments[0]) / "api.md", table(application().openapi())
    if "--check" in arguments:
        return 0 if path.is_file() and path.read_text("utf-8") == text else 1
    path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
