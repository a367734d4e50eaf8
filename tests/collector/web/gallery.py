"""Shoots every page: `python -m tests.collector.web.gallery [--only /tickets] [--quick]`, into .cache/screenshots.

Pages are those of the navigation, and those below. Each is shot in both languages, light and dark, on a desktop and on
a phone; `--quick` leaves Chinese on a light desktop and English on a dark phone.
"""

import base64
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from collector.boxes.authority import Authority
from collector.people import totp
from collector.people.rights import MAY, OWN
from collector.web.navigation import PLACES
from tests import browser, town
from tests.collector.conftest import Desk
from tests.people import now_ms
from tests.services import ROOT, free_port

FOLDER = ROOT / ".cache" / "screenshots"
MORE = (
    ("/boxes/xiaohe-3", "admin"),
    ("/boxes/xiaohe-1", "operator"),
    ("/tickets/15", "operator"),
    ("/shops/record?key=shop-4", "operator"),
    ("/permits/record?key=外摆-7", "viewer"),
    ("/people/person?id=chen", "admin"),
    ("/people/new", "admin"),
    ("/shops/new", "operator"),
    ("/permits/new", "operator"),
    ("/policies/street?street=xiaohe", "admin"),
    ("/cameras/xiaohe-1/market/zones", "operator"),
    ("/learning/xiaohe-1/market/front-1/encroachment?dwell_s=300", "operator"),
    ("/street/xiaohe", None),
    ("/admin/cameras/new", "admin"),
    ("/admin/codes", "admin"),
    ("/admin/detectors", "viewer"),
    ("/admin/systems", "viewer"),
    ("/admin/retention", "auditor"),
    ("/admin/webhooks", "admin"),
    ("/admin/tokens", "admin"),
    ("/tickets/9", "officer"),
    ("/tickets/3", "auditor"),
    ("/tasks/9", "officer"),
    ("/tasks/6", "grid_worker"),
    ("/reports", "viewer"),
    ("/statistics?period=year&measure=soft_rate", "viewer"),
    ("/statistics/tickets?period=year&measure=confirmed", "viewer"),
    ("/sign-in", None),
    ("/sign-in/code", None),
    ("/nothing", "viewer"),
)
"""Pages that no navigation leads to, and who looks at them; a page that is added adds a line."""
SIZES = {"desktop": browser.DESKTOP, "phone": browser.PHONE}
ENROLMENT = '[enrolment]\nurl = "https://center.example:8884"\n'
SHOP_PAGES = '[shop_pages]\nlisten = "127.0.0.1:{port}"\nurl = "http://127.0.0.1:{port}"\nimprint = "小河街道办事处"\n'
STREET_PAGE = "[street_page]\nenabled = true\n"


@dataclass(frozen=True)
class Shown:
    """A page, and who looks at it.

    Args:
        path: empty where `act` alone leads to the page.
        act: what is done there to come to the page, with the browser's page and the center.
        called: its name, where the path does not say it.
    """

    path: str
    role: str | None
    act: Callable | None = None
    called: str = ""

    @property
    def name(self):
        return self.called or self.path.strip("/").partition("?")[0].replace("/", "-") or "board"

    @property
    def person(self):
        return None if self.role is None else town.PEOPLE[self.role][0]

    def open(self, tab):
        """Come to it in a tab."""
        page = tab.open(self.path) if self.path else tab.page
        if self.act is not None:
            self.act(page, tab.center)
        return page


def send(page, form, **fields):
    form = page.locator(f"form[action='{form}']")
    for name, value in fields.items():
        form.locator(f"[name='{name}']").fill(value)
    with page.expect_navigation():
        form.locator("button").first.click()


def labels(page, _center):
    send(page, "/boxes", site=town.STREET, count="5")


def second_factor(page, _center):
    """What an authenticator app scans."""
    send(page, "/account/totp", password=town.PASSWORD)


def recovery_codes(page, center):
    """What is shown once the second factor is on; each time with another secret."""
    second_factor(page, center)
    secret = base64.b32decode(page.locator("main code").inner_text().replace(" ", ""))
    send(page, "/account/totp/confirm", code=totp.code(secret, totp.step_at(now_ms())))


def changes(page, _center):
    send(page, "/policies/street", **{"shop.minutes": "7", "region": "330106"})


def shop(number, ask=""):
    return lambda page, center: page.goto(center.links[number] + ask)


LED = (
    Shown("/boxes", "admin", labels, "labels"),
    Shown("/account", "viewer", second_factor, "second-factor"),
    Shown("/account", "auditor", recovery_codes, "recovery-codes"),
    Shown("/policies/street?street=xiaohe", "admin", changes, "policy-changes"),
    Shown("", None, shop(5), "shop-told"),
    Shown("", None, shop(5, "?ask=appeal"), "shop-objects"),
    Shown("", None, shop(13), "shop-objected"),
    Shown("", None, shop(7), "shop-registered"),
    Shown("", None, shop(3), "shop-put-right"),
)
"""Pages that a form leads to, and those of shops: their links are the center's alone."""


def pages():
    order = ("operator", "admin", "grid_worker", "officer", "auditor")
    for place in PLACES:
        role = next(role for role in order if place.right == OWN or role in MAY[place.right])
        yield Shown(place.path, role)
    yield from (Shown(*one) for one in MORE)
    yield from LED


@contextlib.contextmanager
def center_of(folder):
    """A running center that has all of these pages; its `links` are those of shops, by their ticket."""
    (folder / "data").mkdir()
    desk = Desk(folder / "data")
    made = town.fill(desk)
    Authority.create(folder / "ca", "demo", time.time())
    shops = SHOP_PAGES.format(port=free_port())
    with browser.Center(desk, more=ENROLMENT + shops + STREET_PAGE) as center:
        base = shops.split('"')[3]
        center.links = {number: f"{base}/s/{made.link(number)}" for number in (3, 5, 7, 13)}
        yield center
    desk.store.close()


def shoot(chromium, center, shown, language, theme, size):
    with browser.Tab(chromium, center, shown.person, size=SIZES[size], language=language, theme=theme) as tab:
        page = shown.open(tab)
        page.wait_for_timeout(400)
        target = FOLDER / f"{shown.name}-{language}-{theme}-{size}.png"
        page.screenshot(path=target, full_page=True)
        faults = [one for one in tab.faults if shown.path != "/nothing"]
        print(f"{target.relative_to(ROOT)}{''.join(f' ! {one}' for one in faults)}", flush=True)


def main(arguments):
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else None
    ways = list(product(("zh", "en"), ("light", "dark"), SIZES))
    if "--quick" in arguments:
        ways = [("zh", "light", "desktop"), ("en", "dark", "phone")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser.chromium() as chromium, center_of(Path(scratch)) as center:
        for shown in pages():
            if only in (None, shown.path, shown.name):
                for way in ways:
                    shoot(chromium, center, shown, *way)


if __name__ == "__main__":
    main(sys.argv[1:])
