"""Webhooks and the municipal export over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from collector.exchange import municipal, webhooks
from collector.exchange.webhooks import LONGEST_URL, WebhookError
from collector.people.actor import EVERYWHERE, Actor
from collector.people.audit import record
from collector.people.rights import may
from collector.people.vault import Vault, VaultError
from collector.places.codes import Codes
from collector.store import WebhookRow
from collector.web.documents import SUBSCRIPTION, SUBSCRIPTIONS
from collector.web.rights import Acting, Desk, in_streets, needs
from protocol.instants import Instant

KINDS: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json; charset=utf-8",
}


class Subscribe(BaseModel):
    """A receiver of events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(min_length=8, max_length=LONGEST_URL, examples=["https://platform.example.cn/cityeye"])
    kinds: list[str] = Field(default=[], max_length=100, description="of events; empty: all that change something")
    street: str = Field(default="", max_length=63, description="only of this one; empty: all, which needs a role at *")


class Again(BaseModel):
    """What is to be sent again: all from an instant of the last 30 days on, or one message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Instant | None = None
    message: str = Field(default="", max_length=40, description="its `webhook-id`", examples=["evt_17-1795717271000"])


def router(desk: Desk, vault: Vault, codes: Codes, region: str, zone: ZoneInfo) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    def owned(actor: Actor, row: WebhookRow) -> bool:
        return may(actor, "webhooks.write", row.street or EVERYWHERE)

    @contextmanager
    def one_of_theirs(actor: Actor, webhook: str) -> Iterator[Any]:
        """A transaction that writes to a subscription of theirs; one of another street is not there."""
        try:
            with desk.store.writing() as session:
                row = session.get(WebhookRow, webhook)
                if row is None or not owned(actor, row):
                    raise HTTPException(404, "没有这个订阅 / there is no such subscription")
                yield session
        except WebhookError as fault:
            raise HTTPException(422, str(fault)) from None

    @routes.get("/api/webhooks", dependencies=[needs("webhooks.write")], responses=SUBSCRIPTIONS)
    def list_webhooks(acting: Acting) -> list[dict[str, Any]]:
        """All subscriptions, and how much waits for each or is parked."""
        with desk.store.transaction() as session:
            rows = session.scalars(select(WebhookRow).order_by(WebhookRow.created_ms, WebhookRow.id))
            return [webhooks.as_json(one, *webhooks.backlog(session, one.id)) for one in rows if owned(acting, one)]

    @routes.post("/api/webhooks", dependencies=[needs("webhooks.write")], status_code=201, responses=SUBSCRIPTION)
    def add_webhook(request: Subscribe, acting: Acting) -> dict[str, Any]:
        """Subscribe; the answer is the only one that has the secret."""
        if not may(acting, "webhooks.write", request.street or EVERYWHERE):
            raise HTTPException(403, "不在你的街道；订阅全部街道需要 * 的角色 / expected one of your streets")
        try:
            with desk.store.writing() as session:
                made = webhooks.add(session, acting, vault, request.url, request.kinds, request.street, desk.now_ms())
                return webhooks.as_json(webhooks.find(session, made.id)) | {"secret": made.secret}
        except WebhookError as fault:
            raise HTTPException(422, str(fault)) from None
        except VaultError as fault:
            raise HTTPException(503, f"无法保存密钥 / the secret cannot be kept: {fault}") from None

    @routes.delete("/api/webhooks/{webhook}", dependencies=[needs("webhooks.write")])
    def remove_webhook(webhook: str, acting: Acting) -> dict[str, bool]:
        """End a subscription, with what waits for it."""
        with one_of_theirs(acting, webhook) as session:
            webhooks.remove(session, acting, webhook, desk.now_ms())
        return {"removed": True}

    @routes.post("/api/webhooks/{webhook}/replay", dependencies=[needs("webhooks.write")])
    def replay(webhook: str, request: Again, acting: Acting) -> dict[str, int]:
        """Send again; a receiver knows by the ids what it had."""
        since_ms = None if request.since is None else round(request.since.timestamp() * 1000)
        with one_of_theirs(acting, webhook) as session:
            count = webhooks.replay(session, acting, webhook, desk.now_ms(), from_ms=since_ms, message=request.message)
        return {"count": count}

    @routes.get(
        "/api/exports/municipal.{suffix}",
        dependencies=[needs("tickets.export")],
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in KINDS.values()}, "description": "A file of cases"}},
    )
    def export_municipal(
        acting: Acting,
        suffix: Literal["csv", "xlsx", "json"],
        *,
        first: Annotated[date, Query(description="a day of the center's zone", examples=["2026-03-01"])],
        last: Annotated[date, Query(description="a day, included", examples=["2026-03-31"])],
        everything: Annotated[bool, Query(description="what was never registered, too")] = False,
    ) -> Response:
        """Cases in the field names of the municipal platform; that they left is on record."""
        if not timedelta() <= last - first < timedelta(days=municipal.MOST_DAYS) or last.year > 9000:
            raise HTTPException(
                422, f"最多 {municipal.MOST_DAYS} 天 / expected first to last of at most {municipal.MOST_DAYS} days"
            )
        own, table = in_streets(acting, "tickets.export"), municipal.load_municipal()
        with desk.store.transaction() as session:
            rows = list(municipal.cases(session, first, last, table, codes, region, zone, own, everything=everything))
        with desk.store.writing() as session:
            detail = {"rows": len(rows), "from": first.isoformat(), "to": last.isoformat()}
            record(session, acting, "cases.exported", "ticket/*", detail, desk.now_ms())
        name = f'attachment; filename="cases.{suffix}"'
        headers = {"content-disposition": name, "cache-control": "no-store"}
        return Response(municipal.written(rows, table, suffix), media_type=KINDS[suffix], headers=headers)

    return routes
