"""Pages of webhooks: who is told of what, what came of it, a pause, a test, another secret."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.exchange import webhooks
from collector.exchange.courier import line_to, taken
from collector.exchange.webhooks import KINDS, QUIET, WebhookError
from collector.notices.http import call
from collector.people.actor import EVERYWHERE, Actor
from collector.people.rights import may
from collector.people.vault import Vault, VaultError
from collector.store import WebhookRow
from collector.web import forms, words
from collector.web.forms import DONE, Entry, go
from collector.web.language import N_
from collector.web.pages import Page, Showing
from collector.web.rights import Acting, Desk, Fields, in_streets, needs

ROOT: Final = "/admin/webhooks"
A_PAGE: Final = 30
NO_HOOK: Final = "没有这个订阅 / there is no such subscription"
ONCE: Final = (
    "此页打开后已更换过密钥，只显示一次；如未记下请重新更换 / "
    "a secret was made since this page was opened, and shown once; make another if nobody noted it"
)
STATES: Final = {"waiting": (N_("Waits"), "warn"), "sent": (N_("Delivered"), "good"), "parked": (N_("Given up"), "bad")}
FAULTS: Final = (WebhookError, VaultError)


def router(
    desk: Desk, vault: Vault, center: str, zone: ZoneInfo, networks: Sequence[str], proxy: str | None
) -> APIRouter:
    """The routes.

    Args:
        desk: what all routes work with.
        vault: seals secrets.
        center: its id.
        zone: of its clock.
        networks: private ones in which receivers may be.
        proxy: through which they are called.
    """
    routes = APIRouter(include_in_schema=False)
    line = line_to(networks, proxy)

    def owned(actor: Actor, street: str) -> bool:
        return may(actor, "webhooks.write", street or EVERYWHERE)

    def known(session: Session, acting: Actor, webhook: str) -> WebhookRow:
        """A subscription of theirs; one of another street is not there."""
        row = session.get(WebhookRow, webhook)
        if row is None or not owned(acting, row.street):
            raise HTTPException(404, NO_HOOK)
        return row

    def overview(page: Page, acting: Actor, *, fault: str = "", given: Any = None, done: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            rows = session.scalars(select(WebhookRow).order_by(WebhookRow.created_ms, WebhookRow.id))
            found = [(one, *webhooks.backlog(session, one.id)) for one in rows if owned(acting, one.street)]
            streets = forms.streets(session, acting, "webhooks.write")
        return page(
            "admin_webhooks.html",
            422 if fault else 200,
            rows=found,
            fault=fault,
            done=done,
            entries=_entries(streets, given or {}, wide=in_streets(acting, "webhooks.write") is None),
        )

    @routes.get(ROOT, dependencies=[needs("webhooks.write")])
    def show_webhooks(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        return overview(page, acting, done=DONE.get(done, ""))

    @routes.post(ROOT, dependencies=[needs("webhooks.write")])
    def add(page: Showing, acting: Acting, fields: Fields) -> Response:
        street, kinds = fields.get("street", ""), [one for one in KINDS if fields.get(f"kinds:{one}")]
        try:
            if not owned(acting, street):
                raise WebhookError("不在你的街道 / expected one of your streets")
            with desk.store.writing() as session:
                made = webhooks.add(session, acting, vault, fields.get("url", "").strip(), kinds, street, desk.now_ms())
        except FAULTS as fault:
            return overview(page, acting, fault=str(fault), given=fields)
        return one_page(page, acting, made.id, secret=made.secret)

    def one_page(page: Page, acting: Actor, webhook: str, status: int = 200, **more: Any) -> HTMLResponse:
        with desk.store.transaction() as session:
            row = known(session, acting, webhook)
            waiting, parked = webhooks.backlog(session, row.id)
            sent = [
                {
                    "ticket": event.ticket_number,
                    "kind": words.words(words.EVENTS, event.kind),
                    "at_ms": event.at_ms,
                    "state": STATES[one.state],
                    "tries": one.tries,
                    "next_ms": one.due_ms if one.state == "waiting" and one.tries else None,
                    "said": one.said,
                }
                for one, event in webhooks.deliveries(session, row.id, A_PAGE)
            ]
            return page(
                "admin_webhook.html",
                status,
                hook=row,
                kinds=[words.words(words.EVENTS, one) for one in row.kinds.split(",") if one],
                waiting=waiting,
                parked=parked,
                sent=sent,
                seen=_mark(row),
                **{"secret": "", "fault": "", "done": "", "tried": None, **more},
            )

    @routes.get(f"{ROOT}/{{webhook}}", dependencies=[needs("webhooks.write")])
    def show_webhook(page: Showing, acting: Acting, webhook: str, done: str = "") -> HTMLResponse:
        return one_page(page, acting, webhook, done=DONE.get(done, ""))

    @routes.post(f"{ROOT}/{{webhook}}", dependencies=[needs("webhooks.write")])
    def change(page: Showing, acting: Acting, fields: Fields, webhook: str) -> Response:
        what, now_ms = fields.get("what", ""), desk.now_ms()
        try:
            if what == "test":
                return tried(page, acting, webhook)
            with desk.store.writing() as session:
                row = known(session, acting, webhook)
                if what == "rotate":
                    # a form that is sent again, as by F5, makes no second one
                    if fields.get("seen") != _mark(row):
                        raise WebhookError(ONCE)
                    secret = webhooks.rotate(session, acting, vault, webhook, now_ms).secret
                elif what == "remove":
                    webhooks.remove(session, acting, webhook, now_ms)
                elif what == "again":
                    since = fields.get("since", "")
                    webhooks.replay(session, acting, webhook, now_ms, from_ms=_instant_ms(since, zone))
                else:
                    act: Callable[..., bool] | None = {"pause": webhooks.pause, "resume": webhooks.resume}.get(what)
                    if act is None:
                        raise HTTPException(422, "what: expected pause, resume, test, rotate, again or remove")
                    act(session, acting, webhook, now_ms)
        except FAULTS as fault:
            return one_page(page, acting, webhook, 422, fault=str(fault))
        if what == "rotate":
            return one_page(page, acting, webhook, secret=secret)
        return go(ROOT, done="ended") if what == "remove" else go(f"{ROOT}/{webhook}", done="saved")

    def tried(page: Page, acting: Actor, webhook: str) -> HTMLResponse:
        """Send it a message that is of no ticket, while the page waits."""
        now_ms = desk.now_ms()
        with desk.store.transaction() as session:
            row = known(session, acting, webhook)
            url, secret = row.url, vault.open(webhooks.owner(row.id), row.secret)
        sent = webhooks.trial(center, webhook, now_ms)
        good, said = taken(call(line, "POST", url, sent.headers(secret, now_ms // 1000), sent.body))
        with desk.store.writing() as session:
            webhooks.tried(session, acting, webhook, said, desk.now_ms())
        return one_page(page, acting, webhook, tried=(good, said))

    return routes


def _entries(streets: Sequence[str], given: Any, *, wide: bool) -> list[Entry]:
    every = [("", N_("All streets"))] if wide else []
    kinds = tuple((one, words.words(words.EVENTS, one)) for one in KINDS if one not in QUIET)
    marked = "\n".join(one for one in KINDS if given.get(f"kinds:{one}"))
    hint = N_("https://HOST/PATH, or http:// and an IP address of a private network that center.toml names.")
    return [
        Entry("url", N_("Address of the receiver"), given.get("url", ""), hint=hint, required=True),
        Entry(
            "street",
            N_("Street"),
            given.get("street", ""),
            "choice",
            choices=[*every, *((one, one) for one in streets)],
        ),
        Entry("kinds", N_("Only these events; none marked: all that change something"), marked, "marks", choices=kinds),
    ]


def _mark(row: WebhookRow) -> str:
    """Of the secret that a page knew, and nothing of what it is."""
    return hashlib.sha256(row.secret.encode()).hexdigest()[:16]


def _instant_ms(text: str, zone: ZoneInfo) -> int | None:
    """What a field for day and time holds, by the center's clock."""
    try:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
