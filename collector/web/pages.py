"""Pages: a template, shown in the reader's language and theme to whoever asks.

    @routes.get("/shops", dependencies=[needs("places.read")])
    def show_shops(page: Showing) -> HTMLResponse:
        return page("shops.html", shops=…)

`docs/design/pages.md` says how a page is built.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from collector import VERSION
from collector.people.signing import Caller
from collector.settings import CenterSection
from collector.web import language, navigation
from collector.web.assets import Assets
from collector.web.reader import Reader
from collector.web.rights import OPEN_ACTOR, Gate, csrf_of, held

THEMES: Final = ("auto", "light", "dark")
KEPT_S: Final = 400 * 86_400
"""How long a choice is kept; browsers allow no more."""
LANGUAGE_COOKIE: Final = "cityeye-lang"
THEME_COOKIE: Final = "cityeye-theme"


class Pages:
    """Puts pages together.

    Args:
        center: its settings.
        gate: knows whether browsers come over TLS.
        assets: what pages load.
        readers: one for each language.
    """

    def __init__(self, center: CenterSection, gate: Gate, assets: Assets, readers: Mapping[str, Reader]) -> None:
        self.center, self.gate, self.assets, self.readers = center, gate, assets, readers
        self._templates = {name: self._environment(reader) for name, reader in readers.items()}

    def _environment(self, reader: Reader) -> Environment:
        made = Environment(
            loader=PackageLoader("collector.web"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,  # a mistyped name fails a test, it does not show nothing
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        made.policies["ext.i18n.trimmed"] = True
        made.install_gettext_translations(language.translations(reader.language), newstyle=True)  # type: ignore[attr-defined]  # the extension's
        made.filters.update(reader.filters())
        made.globals.update(
            asset=self.assets.url,
            center=self.center,
            version=VERSION,
            reader=reader,
            script_words=language.script_words(reader.language),
        )
        return made

    def render(self, template: str, among: str, /, **values: Any) -> str:
        """A page, or a part of one, as text."""
        return self._templates[among].get_template(template).render(values)

    def part(self, among: str, template: str, /, **values: Any) -> str:
        """A part of a page, for a script that puts it in its place."""
        return self.render(template, among, language=among, **values)


class Page:
    """A page for one request."""

    def __init__(self, pages: Pages, request: Request) -> None:
        self._pages, self._request = pages, request
        query, cookies = request.query_params, request.cookies
        accepts = request.headers.get("accept-language", "")
        self.language: Final = language.wanted(query.get("lang"), cookies.get(LANGUAGE_COOKIE), accepts)
        asked, kept = query.get("theme"), cookies.get(THEME_COOKIE)
        self.theme: Final = next((one for one in (asked, kept) if one in THEMES), "auto")
        self.reader: Final = pages.readers[self.language]
        self.caller: Final[Caller | None] = getattr(request.state, "caller", None)

    def __call__(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Show a template; a choice that the address brings is kept."""
        caller = self.caller
        who = None if caller is None or not caller.cookie else caller
        may = frozenset() if caller is None else held(caller.actor)
        shown = {
            "who": who,
            "csrf": "" if who is None else csrf_of(who),
            "may": may,
            "open": caller is not None and caller.actor == OPEN_ACTOR,
            "language": self.language,
            "theme": self.theme,
            "themes": THEMES,
            "here": self._here,
            "path": self._request.url.path,
            "places": []
            if who is not None and who.must
            else navigation.shown(self._request.url.path, may, who is not None),
        }
        html = self._pages.render(template, self.language, **shown, **values)
        answer = HTMLResponse(html, status, headers={"cache-control": "no-store"})
        self._keep(answer, "lang", LANGUAGE_COOKIE, self.language)
        self._keep(answer, "theme", THEME_COOKIE, self.theme)
        return answer

    def part(self, template: str, **values: Any) -> str:
        """A part of a page, for a script that puts it in its place."""
        return self._pages.part(self.language, template, **values)

    def _here(self, **changes: str) -> str:
        """Address of this page with something else asked for; after a form was sent, of the home page."""
        if self._request.method != "GET":
            return f"/?{urlencode(changes)}"
        changed = self._request.url.include_query_params(**changes)
        return f"{changed.path}?{changed.query}"

    def _keep(self, answer: HTMLResponse, asked: str, name: str, value: str) -> None:
        if self._request.query_params.get(asked) == value and self._request.cookies.get(name) != value:
            answer.set_cookie(
                name, value, max_age=KEPT_S, secure=self._pages.gate.secure, httponly=True, samesite="lax"
            )


async def page(request: Request) -> Page:
    """The page that a request is answered with; `needs(…)` has said who asks."""
    found: Pages = request.app.state.pages
    return Page(found, request)


Showing = Annotated[Page, Depends(page)]


def readers(zone: ZoneInfo, now_ms: Any) -> dict[str, Reader]:
    """One for each language."""
    return {name: Reader(name, zone, now_ms) for name in language.LANGUAGES}
