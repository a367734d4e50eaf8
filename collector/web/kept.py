"""A form that came too late: its session had ended, or its person signed in again since. Nobody types it twice."""

from typing import Final

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from collector.web.pages import Page
from collector.web.rights import FORM, RefusedError, form, identify_again, same_origin

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
        fields = {name: value for name, value in (await form(request)).items() if name != "csrf"}
    except HTTPException:
        return None
    if not fields or SECRETS & fields.keys():
        return None
    if fault.status_code != 401:
        request.state.caller = await run_in_threadpool(identify_again, request)
    url = request.url
    action = f"{url.path}?{url.query}" if url.query else url.path
    page = Page(request.app.state.pages, request)
    return page("kept.html", fault.status_code, action=action, fields=fields)
