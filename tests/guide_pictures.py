"""Goes the way of docs/guide/first-ticket.* and takes its pictures: `python -m tests.guide_pictures [zh en]`, as root.

Center, broker, box and page are the real ones; the camera plays Debian's vtest.avi, into which crates are staged. All
stand in a network of their own (namespaces; 10.1.2.0/24), so that the box finds the camera as it does in the street.
Writes docs/pictures/guide-*.webp, and what was printed to .cache/guide; CITYEYE_MODELS must hold yunet-s-640.
"""

import contextlib
import ctypes
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from agent.box.card import apply
from collector.boxes import labels
from collector.people import roster
from collector.people.actor import SYSTEM, Grant, Role
from collector.places import shops
from collector.places.history import Author
from collector.places.register import Around
from protocol.enrolment import plate_of
from tests import browser, places, town
from tests.cameras import RtspCamera
from tests.fleet import AGENT, COLLECTOR, Fleet
from tests.people import QUICK, now_ms
from tests.services import ROOT, Process, answers, run, wait_for

sys.path.insert(0, str(ROOT / "deploy/demo"))
sys.path.insert(0, str(ROOT / "deploy/image"))
import clip
import personalise

CLONE_NEWNET = 0x40000000
GATEWAY, BOX, CENTER, CAMERA = (f"10.1.2.{number}" for number in (1, 3, 9, 64))
QUALITY = 8
"""The least that is legible."""
LOGIN = ("admin", "right-1")
VIDEO, TOP_PX = ROOT / ".cache/vtest.avi", 100
PRINTED, PICTURES = ROOT / ".cache/guide", ROOT / "docs/pictures"
APPEARS_S, LENGTH_S, DWELL_S = 80, 220, 60
"""Of the crates, after whoever looks began; the place is learned by then."""
SIZE, SCALE, GAP = {"width": 300, "height": 700}, 0.64, 6
SAYS = {
    "zh": {"people": ("李敏", "张工"), "wrong": "用户名或密码不对", "locale": "zh-CN"},
    "en": {"people": ("Li Min", "Zhang"), "wrong": "401", "locale": "en-GB"},
}
SITE = f"""\
[network]
address = "{BOX}/24"
gateway = "{GATEWAY}"
[time]
servers = ["{GATEWAY}"]
"""
SETTINGS = """\
version = 1
[box]
state_dir = "state"
timezone = "Asia/Shanghai"
[setup]
run_dir = "{}/cityeye"
"""
CONSOLE = "import sys; from pathlib import Path; from agent.box.console import *; "
CONSOLE += "print(picture(Sight.take(Path(sys.argv[1])), chinese=sys.argv[2] == 'zh').replace(chr(13), ''))"


def street():
    """What the camera shows at a time, one call after the other, 16:9 of the clip; and where the crates are put."""
    pictures, (x, y, width, height) = clip._repeated(VIDEO, 1), clip.calm_place(VIDEO)
    left, top, wide, tall = (round(one) for one in (x * 768, y * 576 - TOP_PX, width * 768, height * 576))
    thing = clip.crates(wide, tall)

    def frame(t):
        picture = next(pictures)[TOP_PX : TOP_PX + 432].copy()
        if t >= APPEARS_S:
            # its part alone: the shadow takes long
            clip.place(picture[top - tall : top + 2 * tall, left - wide : left + 2 * wide], thing, wide, tall)
        return picture

    return frame, (left / 768, top / 432, wide / 768, tall / 432)


@contextlib.contextmanager
def network():
    """This process's becomes the street's; yields the words before a command of the box."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        sys.exit("expected to be root: the network is a namespace of its own")
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as box:
        on_box = ["nsenter", "-t", box.pid, "-n"]
        try:
            own, its = Path("/proc/self/ns/net"), Path(f"/proc/{box.pid}/ns/net")
            wait_for(lambda: own.readlink() != its.readlink(), "a network")
            beside = [f"link add street type veth peer name eth0 netns {box.pid}"]
            beside += [f"addr add {one}/24 dev street" for one in (GATEWAY, CENTER, CAMERA)]
            for where, name, made, route in (
                ([], "street", beside, []),
                (on_box, "eth0", [f"addr add {BOX}/24 dev eth0"], [f"route add default via {GATEWAY}"]),
            ):
                for words in ("link set lo up", *made, f"link set {name} up", *route):
                    assert run(*where, "ip", *words.split()).returncode == 0, words
            yield on_box
        finally:
            box.kill()


class Album:
    """Pictures of one language, made into strips of columns."""

    def __init__(self, language):
        self.language, self.columns = language, []

    def take(self, page, first, last=None, *, below=False):
        """From the top of one part of a page to the bottom of another; `below` the one before, or beside it."""
        page.wait_for_timeout(500)
        page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
        top, bottom = (page.locator(one).first.bounding_box() for one in (first, last or first))
        clipped = {"x": 0, "y": top["y"] - 6, "width": SIZE["width"]}
        clipped["height"] = bottom["y"] + bottom["height"] + 6 - clipped["y"]
        png = page.screenshot(clip=clipped, full_page=True, scale="device", animations="disabled")
        shot = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        if below:
            gap = np.full((GAP, shot.shape[1], 3), 255, np.uint8)
            self.columns[-1] = np.concatenate([self.columns[-1], gap, shot])
        else:
            self.columns.append(shot)

    def paste(self, name):
        """The columns side by side; begins anew."""
        columns, self.columns = self.columns, []
        height, width = max(len(one) for one in columns), columns[0].shape[1] + GAP
        strip = np.full((height, len(columns) * width - GAP, 3), 255, np.uint8)
        for number, one in enumerate(columns):
            strip[: len(one), number * width :][:, : one.shape[1]] = one
        keep(f"guide-{name}-{self.language}", Image.fromarray(strip), lossless=False, quality=QUALITY)


def keep(name, picture, **how):
    """As WebP."""
    picture.save(PRINTED / f"{name}.png")
    path = PICTURES / f"{name}.webp"
    picture.save(path, method=6, **how)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes", flush=True)


def show_label(chromium, page):
    """One label, as it is printed."""
    tab = chromium.new_page()
    tab.set_content(page)
    label = Image.open(io.BytesIO(tab.locator("article").screenshot())).convert("L")
    keep("guide-label", label.quantize(2, dither=Image.Dither.NONE).convert("L"), lossless=True)
    tab.close()


def set_up(page, album, console, boot, run_dir, place):
    """The set-up page from its PIN to the end, its card mended on the way."""
    says = SAYS[album.language]
    page.click("#enter button")
    page.wait_for_selector("#network li.FAIL")
    album.take(page, "#network .findings")
    card = boot / "cityeye.toml"
    card.write_text(card.read_text("utf-8").replace("gatway", "gateway"), "utf-8")
    assert not apply(boot, run_dir)
    console("console")
    page.click('#network [data-go="claim"]')
    page.wait_for_selector("#claim dt")
    page.click("#claim .ways button")
    page.click("#find")
    page.click(f"#found button:has-text('{CAMERA}:554')")
    page.fill('[name="user"]', LOGIN[0])
    page.fill('[name="password"]', "wrong-1")
    page.click("#camera form > button")
    page.wait_for_selector(f"#tested .FAIL:has-text('{says['wrong']}')")
    album.take(page, "#tested", below=True)
    page.fill('[name="password"]', LOGIN[1])
    page.click("#camera form > button")
    page.wait_for_selector("#tested .ok")
    page.wait_for_selector("#use:not([hidden]):not([disabled])")
    page.click("#use")
    page.wait_for_selector("#picture img")
    page.wait_for_selector("#picture td:nth-child(3)")
    page.wait_for_timeout(4_000)
    album.take(page, "#picture figure", "#picture table")
    page.click('#picture [data-go="zones"]')
    page.wait_for_selector("#board image")
    page.click('[data-draw="frontage"]')
    board = page.locator("#board").bounding_box()
    x, y, width, height = place
    for dx, dy in ((-1.2, -0.5), (2.2, -0.5), (2.6, 1.1), (-1.6, 1.1)):
        across, down = x + dx * width, y + dy * height
        page.touchscreen.tap(board["x"] + across * board["width"], board["y"] + down * board["height"])
    page.click('[data-do="finish"]')
    page.fill('#shape [name="shop"]', places.SHOP["id"])
    page.fill('#shape [name="dwell_s"]', str(DWELL_S))
    album.take(page, "#board")
    page.click("#save")
    page.wait_for_selector("#reports img", timeout=240_000)
    album.take(page, "#trial figure", "#trial .said", below=True)
    album.take(page, "#reports")
    page.click('#trial [data-go="leave"]')
    page.click("#doctor")
    page.wait_for_selector("#examined li:nth-child(5)", timeout=180_000)
    page.click("#finish")
    page.wait_for_function("() => document.querySelector('#finished').textContent")
    album.take(page, "#finish", "#finished", below=True)
    if album.language == "en":  # half of them, as the repository is to stay small
        del album.columns[1::2]
    album.paste("setup")


def at_the_center(tab, album, box):
    """The box that has come, the first ticket confirmed, and the installation accepted."""
    page = tab.open("/boxes")
    page.locator(".boxes li").first.wait_for()
    album.take(page, f".boxes li:has-text('{box}')")
    for _ in range(60):
        if tab.open("/tickets/1").locator(".wide img").count() > 1:
            break
        page.wait_for_timeout(3_000)
    page.wait_for_timeout(1_500)
    album.take(page, ".head h1", ".wide")
    album.take(page, "[data-live=step]", "[data-live=acts] [data-verb=confirm]")
    page.locator("[data-verb=confirm] button").first.click()
    page.locator("[data-live=acts] [data-verb=confirm]").wait_for(state="detached")
    album.take(page, "[data-live=step]", below=True)
    tab.open(f"/boxes/{box}").locator("button[value=examine]").click()
    examined = page.locator("a[href*='/examinations/']")
    examined.first.wait_for()
    examined.first.click()
    page.fill("[name=name]", SAYS[album.language]["people"][1])
    if page.locator("[name=note][required]").count():
        page.fill("[name=note]", "—")
    page.locator("main section form button").click()
    album.take(page, "main section.card:has(h2)")
    if album.language == "zh":  # README has one in English
        album.paste("ticket")


def way(language, chromium, on_box, place, scratch):
    """All of it, in one language."""
    says, album = SAYS[language], Album(language)
    fleet = Fleet(scratch / "center", CENTER, CENTER, (8883, 8884, 8080))
    with fleet.settings.open("a") as file:
        file.write('[people]\nsecond_factor = "optional"\n')
    codes = scratch / "codes.csv"
    fleet.command("boxes", "add", "--site", town.STREET, "--count", "3", "--csv", codes)
    (scratch / "site.toml").write_text(SITE, "utf-8")
    first, *_ = personalise.read_list(codes, scratch / "site.toml")
    invited = first.invitation
    show_label(chromium, labels.as_page([first.claim], invited.url, invited.fingerprint, flashed=True))
    with fleet.store.writing() as session:
        grants = [Grant(Role.OPERATOR, town.STREET)]
        roster.add(
            session, SYSTEM, "li", says["people"][0], grants, now_ms=now_ms(), password=QUICK.hash(town.PASSWORD)
        )
        author = Author(town.person("operator"), now_ms())
        shops.add(session, {**places.SHOP, "street": town.STREET, "zones": ""}, author, Around("330105", author.at_ms))
    boot, run_dir, settings = scratch / "boot", scratch / "run", scratch / "box.toml"
    settings.write_text(SETTINGS.format(run_dir), "utf-8")
    boot.mkdir()
    # a hand's mistake
    (boot / "cityeye.toml").write_bytes(first.card.replace(b"gateway", b"gatway"))
    apply(boot, run_dir)

    def console(name):
        found = run(*on_box, sys.executable, "-c", CONSOLE, run_dir / "cityeye", language)
        (PRINTED / f"{name}-{language}.txt").write_text(found.stdout or found.stderr, "utf-8")

    agent = [*on_box, AGENT, "run", "--settings", settings]
    with (
        fleet.mosquitto(),
        Process([COLLECTOR, "serve", "--settings", fleet.settings], scratch / "center.log"),
        Process(agent, scratch / "agent.log"),
    ):
        told = run_dir / "cityeye/agent/standing.json"
        wait_for(lambda: told.exists() and '"connected": true' in told.read_text(), "it is in", 120)
        for served in ((8080,), (8443, BOX)):
            wait_for(lambda served=served: answers(*served), f"the pages at {served}", 120)
        console("console-fault")
        office = SimpleNamespace(url="http://127.0.0.1:8080", desk=SimpleNamespace(store=fleet.store))
        office.cookie = lambda person: browser.Center.cookie(office, person)
        how = {"locale": says["locale"], "timezone_id": "Asia/Shanghai", "has_touch": True, "ignore_https_errors": True}
        context = chromium.new_context(viewport=SIZE, device_scale_factor=SCALE, **how)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.goto(f"https://{BOX}:8443/#pin={plate_of(first.claim.code)[1]}")
        set_up(page, album, console, boot, run_dir, place)
        context.add_cookies([office.cookie("li")])
        tab = SimpleNamespace(page=page, open=lambda path: page.goto(office.url + path) and page)
        at_the_center(tab, album, first.claim.box)


def main(languages):
    """Both, or those that are named."""
    PRINTED.mkdir(parents=True, exist_ok=True)
    frame, place = street()
    with tempfile.TemporaryDirectory() as scratch, network() as on_box, browser.chromium() as chromium:
        folder = Path(scratch)
        with RtspCamera(folder / "camera", *LOGIN, frame, LENGTH_S, anew=True, at=(CAMERA, 554)):
            for language in languages or SAYS:
                (folder / language).mkdir()
                way(language, chromium, on_box, place, folder / language)


if __name__ == "__main__":
    main(sys.argv[1:])
