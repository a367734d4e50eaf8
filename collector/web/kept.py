"""A form that came too late: its session had ended, or somebody signed in again since. Nobody types it twice.

It is sent again by the person whose page it was, and by nobody else who has signed in at that browser since.
"""

from typing import Final

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from collector.web.pages import Page
from collector.web.rights import FORM, RefusedError, form, identify_again, same_origin, writer_of

SECRETS: Final = frozenset({"password", "new", "code"})
"""Fields that no page holds; a form that has one is typed anew."""


async def kept(request: Request, fault: RefusedError) -> HTMLResponse | None:
    """A page that holds what was sent and sends it again; None where nothing is to be held."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if request.method != "POST" or kind != FORM or not (fault.status_code == 401 or fault.code == "page_expired"):
        return None
    try:
        # what another site's page sent would be one press away from being done
        same_origin(request, strict=True)
        fields = await form(request)
    except HTTPException:
        return None
    sent = fields.pop("csrf", "")
    writer = writer_of(sent)
    if not writer or not fields or SECRETS & fields.keys():
        return None
    if fault.status_code != 401:
        request.state.caller = await run_in_threadpool(identify_again, request)
    url = request.url
    action = f"{url.path}?{url.query}" if url.query else url.path
    page = Page(request.app.state.pages, request)
    mine = page.caller is not None and page.caller.actor.id == writer
    return page("kept.html", fault.status_code, action=action, fields=fields, sent=sent, writer=writer, mine=mine)
