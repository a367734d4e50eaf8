"""Shoots every page: `python -m tests.collector.web.gallery [--only /tickets] [--quick]`, into .cache/screenshots.

Pages are those of the navigation, and those below. Each is shot in both languages, light and dark, on a desktop and on
a phone; `--quick` leaves Chinese on a light desktop and English on a dark phone.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

from collector.people.rights import MAY, OWN
from collector.web.navigation import PLACES
from tests import browser, town
from tests.collector.conftest import Desk
from tests.services import ROOT

FOLDER = ROOT / ".cache" / "screenshots"
MORE = (
    ("/boxes/xiaohe-3", "admin"),
    ("/boxes/xiaohe-1", "operator"),
    ("/tickets/15", "operator"),
    ("/shops/record?key=shop-4", "operator"),
    ("/permits/record?key=外摆-7", "viewer"),
    ("/people/person?id=chen", "admin"),
    ("/people/new", "admin"),
    ("/policies/street?street=xiaohe", "admin"),
    ("/learning/xiaohe-1/market/front-1/encroachment?dwell_s=300", "operator"),
    ("/tickets/9", "officer"),
    ("/tickets/3", "auditor"),
    ("/tasks/9", "officer"),
    ("/tasks/6", "grid_worker"),
    ("/sign-in", None),
    ("/nothing", "viewer"),
)
"""Pages that no navigation leads to, and who looks at them; a page that is added adds a line."""
SIZES = {"desktop": browser.DESKTOP, "phone": browser.PHONE}


def pages():
    """Path and role of each page."""
    order = ("operator", "admin", "grid_worker", "officer", "auditor")
    for place in PLACES:
        yield place.path, next(role for role in order if place.right == OWN or role in MAY[place.right])
    yield from MORE


def shoot(chromium, center, path, role, language, theme, size):
    """One picture."""
    person = None if role is None else town.PEOPLE[role][0]
    with browser.Tab(chromium, center, person, size=SIZES[size], language=language, theme=theme) as tab:
        page = tab.open(path)
        page.wait_for_timeout(400)
        name = path.strip("/").partition("?")[0].replace("/", "-") or "board"
        target = FOLDER / f"{name}-{language}-{theme}-{size}.png"
        page.screenshot(path=target, full_page=True)
        faults = [one for one in tab.faults if path != "/nothing"]
        print(f"{target.relative_to(ROOT)}{''.join(f' ! {one}' for one in faults)}", flush=True)


def main(arguments):
    """Shoot them."""
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else None
    ways = list(product(("zh", "en"), ("light", "dark"), SIZES))
    if "--quick" in arguments:
        ways = [("zh", "light", "desktop"), ("en", "dark", "phone")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser.chromium() as chromium:
        folder = Path(scratch) / "data"
        folder.mkdir()
        desk = Desk(folder)
        town.fill(desk)
        with browser.Center(desk) as center:
            for path, role in pages():
                if only in (None, path):
                    for way in ways:
                        shoot(chromium, center, path, role, *way)
        desk.store.close()


if __name__ == "__main__":
    main(sys.argv[1:])
