"""The live board: what waits for a decision now."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from collector.people.rights import streets
from collector.store import Ticket
from collector.tickets.machine import State
from collector.web import live, ticket_pages, views
from collector.web.pages import Showing
from collector.web.rights import Acting, Desk, needs

WAITING: Final = (State.PENDING_REVIEW, State.APPEALED)
FIRST: Final = 50
"""Alerts that come with the page."""


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/", dependencies=[needs("tickets.read")])
    def show_board(page: Showing, acting: Acting) -> HTMLResponse:
        query = select(Ticket).where(Ticket.open == 1, Ticket.state.in_(WAITING)).order_by(Ticket.number.desc())
        own = streets(acting, "tickets.read")
        query = query if own is None else query.where(Ticket.street.in_(own))
        with desk.store.transaction() as session:
            at = live.now(session)
            found = list(session.scalars(query.limit(FIRST)))
            pictures = ticket_pages.thumbnails(session, [one.number for one in found])
            names = ticket_pages.shop_names(session, {one.shop for one in found})
            now_ms = desk.now_ms()
            rows = [
                views.row_view(one, now_ms, pictures.get(one.number), names.get(one.shop or "", "")) for one in found
            ]
        return page("board.html", at=at, rows=rows)

    return routes
