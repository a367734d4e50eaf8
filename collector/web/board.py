"""The live board."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from collector.web.rights import Desk, needs


def router(_desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/", dependencies=[needs("tickets.read")])
    def show_board() -> RedirectResponse:
        return RedirectResponse("/tickets?state=open", 303)

    return routes
