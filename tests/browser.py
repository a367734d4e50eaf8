"""Pages in a real browser, of a real center: how they are opened, and what every page must hold."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector.people import sessions
from tests.people import now_ms
from tests.services import BIN, ROOT, Process, free_port

CHROMIUM = Path("/usr/bin/chromium")
AXE = ROOT / ".cache" / "axe" / "axe.min.js"
DESKTOP, PHONE, NARROW = (1440, 900), (390, 844), (360, 640)
SHIFT = """() => {
  const seen = new PerformanceObserver(() => {});
  seen.observe({ type: "layout-shift", buffered: true });
  return seen.takeRecords().reduce((whole, one) => whole + (one.hadRecentInput ? 0 : one.value), 0);
}"""
MOST_SHIFT = 0.05
MOST_BYTES = 300_000
"""Of a page on the wire, without pictures."""


@contextlib.contextmanager
def chromium():
    """Debian's Chromium; skips where it is missing."""
    sync = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs chromium (deploy/setup.sh tools)")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def beside(coroutine):
    """What a coroutine gives, in a thread of its own: in this one Playwright's loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


class Center:
    """A running collector on a desk's data, see `tests/town.py`; it may be stopped and started again.

    Args:
        desk: of `tests/collector/conftest.py`, in a folder `data`.
        broker: URL; none answers at the one that is left out.
        more: further lines of its settings.
    """

    def __init__(self, desk, broker="mqtt://127.0.0.1:1", more=""):
        self.desk = desk
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        folder = desk.folder.parent
        settings = folder / "center.toml"
        settings.write_text(
            f'version = 1\n[center]\nid = "demo"\nname = "小河街道"\nregion = "330105"\nlisten = "127.0.0.1:{port}"\n'
            f'data_dir = "{desk.folder.name}"\n[people]\nsecond_factor = "optional"\n'
            f'[broker]\nurl = "{broker}"\n{more}',
            "utf-8",
        )
        self.process = Process([BIN / "cityeye-collector", "serve", "--settings", settings], folder / "log", port)

    def restart(self):
        """End it, and start it again."""
        self.process.stop()
        self.process.start()

    def cookie(self, person):
        """A new session's."""
        with self.desk.store.writing() as session:
            made = sessions.start(
                session, person, "full", "password", ages=sessions.Ages(), now_ms=now_ms(), address="test"
            )
        return {"name": "cityeye", "value": made, "url": self.url}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__()


class Tab:
    """A page of a browser that keeps what went wrong in it.

    Args:
        browser: Chromium.
        center: whose pages.
        person: who has signed in; None: nobody.
    """

    def __init__(self, browser, center, person=None, *, size=DESKTOP, language="zh", theme="light", **more):
        self.center = center
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            locale={"zh": "zh-CN", "en": "en-GB"}[language],
            timezone_id="Asia/Shanghai",
            color_scheme=theme,
            has_touch=size[0] < 600,
            **more,
        )
        if person is not None:
            self.context.add_cookies([center.cookie(person)])
        self.page = self.context.new_page()
        self.faults = []
        self.bytes = 0
        page = self.page
        page.on(
            "console", lambda said: said.type in ("error", "warning") and self.faults.append(f"console: {said.text}")
        )
        page.on("pageerror", lambda fault: self.faults.append(f"script: {fault}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _failed(self, request):
        # what a page gives up as it is left is no fault
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"request: {request.method} {request.url}: {request.failure}")

    def _answered(self, response):
        if response.status >= 400:
            self.faults.append(f"answer: {response.status} {response.request.method} {response.url}")

    def open(self, path):
        """Go to a page of the center; returns Playwright's page."""
        self.page.goto(self.center.url + path)
        return self.page

    def forgive(self, text):
        """Faults that are meant: those that say this."""
        self.faults = [one for one in self.faults if text not in one]

    def check(self, *, axe=True):
        """Hold this page to what every page must hold: see `check`."""
        check(self.page, self.faults, axe=axe)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def click(page, name, **more):
    """Press a button of a page, or of a part of it."""
    page.get_by_role("button", name=name, **more).click()


def shows(page, text, **more):
    """Wait until a page, or a part of it, shows a text."""
    page.get_by_text(text, **more).wait_for()


def press(page, *keys):
    """Press keys one after the other."""
    for key in keys:
        page.keyboard.press(key)


def check(page, faults=(), *, axe=True):
    """No console error, failing request, refused content, layout shift, sideways scrolling; small; accessible."""
    page.wait_for_load_state("load")
    # what is pale while the center answers is not what is read
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .is-sent')")
    path = page.evaluate("location.pathname")
    # takes as long as what comes late needs to come; said last
    found = violations(page) if axe and AXE.exists() else page.wait_for_timeout(100)
    assert not faults, f"{path}: {faults}"
    shift = page.evaluate(SHIFT)
    assert shift <= MOST_SHIFT, f"{path}: layout shift {shift:.3f}"
    wide, whole = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert whole <= wide, f"{path}: scrolls sideways, {whole} px in {wide}: {page.evaluate(WIDEST)}"
    weight = page.evaluate(WEIGHT)
    assert weight <= MOST_BYTES, f"{path}: {weight} bytes on the wire"
    assert not found, f"{path}: {found}"


WIDEST = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .slice(0, 5).map((one) => one.outerHTML.slice(0, 120))"""
WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((one) => !/\\/(evidence|picture)\\//.test(one.name)).reduce((sum, one) => sum + (one.transferSize || 0), 0)"""
RUN = "(tags) => axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page):
    """What axe-core finds against WCAG 2.2 AA, one line each."""
    # as a debugger would, past the page's content policy
    page.evaluate(AXE.read_text("utf-8") + "; undefined")
    found = page.evaluate(RUN, LEVELS)
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
