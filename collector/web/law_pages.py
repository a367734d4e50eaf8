"""The page of the papers that the law asks for: the sign, the filing, the impact assessment, and what they lack."""

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from collector.law import filing
from collector.law.facts import gather
from collector.law.writing import FORMATS, MEDIA, Name, Writer, note_made
from collector.papers.typefaces import typeface
from collector.people.actor import EVERYWHERE, Actor
from collector.settings import CenterSettings
from collector.web.forms import DONE, go
from collector.web.language import N_
from collector.web.pages import Showing
from collector.web.rights import Acting, Desk, Fields, check, in_streets, needs

TITLES: Final = {"sign": N_("Sign"), "filing": N_("Filing"), "assessment": N_("Impact assessment")}
LONGEST: Final = 100


def router(desk: Desk, settings: CenterSettings, face: Path | None) -> APIRouter:
    """The routes; `face` is a file with the typeface of PDFs. Raises SettingsError where it cannot be used."""
    routes = APIRouter(include_in_schema=False)
    center, chosen = settings.center.id, typeface(face)

    def look(session: Session, who: Actor) -> Writer:
        own = in_streets(who, "law.read")
        facts, before = gather(session, settings, desk.now_ms(), own), filing.last(session, center, own)
        return Writer(facts, before, chosen)

    @routes.get("/papers", dependencies=[needs("law.read")])
    def show_papers(page: Showing, acting: Acting, done: str = "") -> HTMLResponse:
        with desk.store.transaction() as session:
            found = look(session, acting)
        return page(
            "papers.html",
            papers=[(name, TITLES[name], formats) for name, formats in FORMATS.items()],
            before=found.before,
            changes=found.items("changes", page.language),
            cameras=len(found.facts.cameras),
            gaps=found.items("gaps", page.language),
            done=DONE.get(done, ""),
        )

    @routes.get("/papers/{name}.{suffix}", dependencies=[needs("law.read")])
    def send_paper(page: Showing, acting: Acting, name: Name, suffix: Annotated[str, InPath(max_length=8)]) -> Response:
        if suffix not in FORMATS[name]:
            raise HTTPException(404)
        with desk.store.writing() as session:
            content = look(session, acting).write(name, suffix, page.language)
            note_made(session, acting, name, content, desk.now_ms())
        headers = {"content-disposition": f'attachment; filename="{name}.{suffix}"', "cache-control": "no-store"}
        return Response(content, media_type=MEDIA[suffix], headers=headers)

    @routes.post("/papers/filed", dependencies=[needs("law.write")])
    def note_filed(acting: Acting, fields: Fields) -> Response:
        check(acting, "law.write", EVERYWHERE)
        receipt = " ".join(fields.get("receipt", "").split())[:LONGEST]
        with desk.store.writing() as session:
            facts = gather(session, settings, desk.now_ms())
            filing.note_filed(session, facts, acting, receipt, desk.now_ms())
        return go("/papers", done="saved")

    return routes
