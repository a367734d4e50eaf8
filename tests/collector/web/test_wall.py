"""The wall: its numbers are the indicators, it says no names, and nobody has to touch it."""

import json
import re
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, select

from collector.people import roster
from collector.people.actor import SYSTEM, Grant, Role
from collector.people.signing import Source
from collector.places import register, shops
from collector.places.settings import MapSection
from collector.places.standing import positions, spot, standing
from collector.store import SignInRow, Ticket
from collector.web.wall import CHIEF, LATE_ROWS, TODAY
from tests import places, town
from tests.collector.conftest import Desk
from tests.collector.web.conftest import running
from tests.people import PASSWORD, center_settings, make_gate, make_pages, make_person, sign_in
from tests.people import browser as client_for

ZONE = ZoneInfo("Asia/Shanghai")
DAY_MS = 86_400_000
VALUE = re.compile(r'data-name="(\w+)">(?:\s*)([^<\s]+)')
KIND = re.compile(r'data-kind="(\w+)">.*?<b>([\d,]+)</b>', re.DOTALL)
SHOWS = "(count) => document.querySelector('[data-name=reported]').textContent.trim() === String(count)"
LEAP = datetime(2028, 2, 29, 15, tzinfo=ZONE).timestamp()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def wall_of(desk, monkeypatch, at_s, *grants):
    """A client of somebody at the wall at an instant."""
    at_ms = round(at_s * 1000)
    monkeypatch.setattr("collector.web.app.now_ms", lambda: at_ms)
    client = client_for(make_pages(desk, make_gate(desk.store, lambda: at_ms)))
    for grant in grants:
        make_person(desk.store, "who", grant, at_ms=at_ms)
        sign_in(desk.store, "who", client, at_ms=at_ms)
    return client


def written(part, form):
    """A number as the wall writes it."""
    if form == "shares":
        value = None if not part["whole"] else part["part"] / part["whole"]
        return "–" if value is None else "100" if value == 1 else f"{100 * value:.1f}"
    if form == "minutes":
        return "–" if part["median"] is None else f"{part['median']:.1f}"
    return str(part)


def told(client, first, last):
    """All indicators of a period, by name, as the API has them."""
    whole = client.get("/api/indicators", params={"from": first, "to": last}).json()["all"]
    return {name: written(part, form) for form in ("counts", "shares", "minutes") for name, part in whole[form].items()}


def busy(desk, now_s):
    """A town in all states, and what there was in the weeks before."""
    made = town.Town(desk, pictures=False, now_s=now_s).people().places()
    for shop, weeks, minutes in ((23, 2, 60), (23, 1, 60), (24, 1, -60)):
        ago = weeks * 7 * 1440 + minutes
        made.clears(made.appears(shop, ago), ago - 5)
    return made.every_state().waiting()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    ("now_s", "filled"),
    [
        pytest.param(LEAP, True, id="a busy leap day"),
        pytest.param(LEAP + 20 * 3600, True, id="the day after, empty"),
        pytest.param(LEAP, False, id="an empty center"),
    ],
)
def test_each_number_is_the_indicator_behind_it(desk, monkeypatch, now_s, filled, language):
    if filled:
        busy(desk, LEAP)
    client = wall_of(desk, monkeypatch, now_s, "viewer")
    page = client.get("/wall", params={"lang": language})
    assert page.status_code == 200
    shown = dict(VALUE.findall(page.text))
    today = datetime.fromtimestamp(now_s, ZONE).date()
    of_today, recent = told(client, today, today), told(client, today - timedelta(days=27), today)
    assert {name: shown[name] for name in TODAY} == {name: of_today[name] for name in TODAY}
    assert shown[CHIEF] == recent[CHIEF]
    assert of_today["reported"] == ("22" if (filled, now_s) == (True, LEAP) else "0")
    # what is so now is counted as the list of tickets has it
    now_open = client.get("/api/tickets", params={"open": True, "limit": 200}).json()
    late = client.get("/api/tickets", params={"overdue": True, "limit": 200}).json()
    kinds = {kind: int(count) for kind, count in KIND.findall(page.text)}
    assert (sum(kinds.values()), kinds["late"]) == (len(now_open), len(late))
    assert page.text.count("<time>") >= min(len(late), LATE_ROWS)
    # /wall/now has the same parts
    part = client.get("/wall/now", params={"lang": language}).text
    assert dict(VALUE.findall(part)) == shown


def test_today_is_seen_against_the_same_weekday_up_to_now(desk, monkeypatch):
    busy(desk, LEAP)
    client = wall_of(desk, monkeypatch, LEAP, "viewer")
    # a week ago one an hour earlier and one an hour later, two weeks ago one earlier; nothing is known of before
    assert "usual 1<" in re.sub(r"\s*</p>", "<", client.get("/wall?lang=en").text)
    assert told(client, "2028-02-22", "2028-02-22")["reported"] == "2"


def test_a_ticket_is_where_its_own_page_has_it(desk):
    town.Town(desk, pictures=False).people().places().every_state().waiting()
    with desk.store.writing() as session:
        door = {"id": "shop-2", "lon": "120.1502", "lat": "30.2804"}
        register.change(session, shops.SHOPS, door, places.AUTHOR, places.AROUND, new=False)
        every = list(session.scalars(select(Ticket)))
        found = positions(session, every)
        for one in every:
            whose = standing(session, one.shop, one.box_id, one.camera, one.zone)
            own = spot(session, whose.shop or whose.tell, one.box_id, one.camera, one.report)
            assert found.get(one.number, (None, None)) == (own.lon, own.lat)
    assert (120.1502, 30.2804) in found.values()


@pytest.mark.parametrize("grant", ["screen@xiaohe", "operator@xiaohe"])
def test_no_name_of_a_shop_or_a_person_is_on_the_wall(desk, monkeypatch, grant):
    town.Town(desk, pictures=False).people().places().every_state().waiting()
    client = wall_of(desk, monkeypatch, time.time() + 7200, grant)
    text = client.get("/wall").text + client.get("/wall/now").text
    assert "菜场口" in text
    people = [name for _, name in town.PEOPLE.values()]
    assert [name for name in (*town.SHOPS, *people, "张三", "shop-") if name in text] == []


def test_a_screen_sees_the_wall_and_nothing_else(desk, monkeypatch):
    town.Town(desk, pictures=False).people().places()
    client = wall_of(desk, monkeypatch, time.time(), "screen@xiaohe")
    assert client.get("/wall").status_code == 200
    for path in ("/", "/tickets", "/cameras", "/shops", "/events", "/api/tickets", "/api/indicators"):
        assert client.get(path).status_code == 403, path
    found = client.get("/wall/events").text
    assert "retry" in found


def test_a_screen_that_is_nothing_else_stays_signed_in(desk):
    clock = [round(time.time() * 1000)]
    gate = make_gate(desk.store, lambda: clock[0], second_factor="optional")
    make_person(desk.store, "wall", "screen@s", password=PASSWORD)
    client = client_for(make_pages(desk, gate))
    entered = client.post(
        "/sign-in", data={"name": "wall", "password": PASSWORD}, headers={"sec-fetch-site": "same-origin"}
    )
    assert entered.headers["location"] == "/wall"
    # kept beyond the end of the browser: a screen loses its power
    assert "Max-Age=7776000" in entered.headers["set-cookie"]
    cookie = gate.signing.password("wall", PASSWORD, Source("192.0.2.1")).cookie
    for days, good in ((89, True), (91, False)):
        begun = clock[0]
        clock[0] += days * DAY_MS
        assert (gate.signing.caller(cookie) is not None) == good
        clock[0] = begun
    clock[0] += DAY_MS
    desk.write(roster.give, SYSTEM, "wall", Grant(Role.OPERATOR, "s"), clock[0])
    assert gate.signing.caller(cookie) is None


def test_only_the_wall_may_have_pictures_of_the_tile_server(desk):
    of = MapSection(tiles="https://tiles.example/{z}/{x}/{y}.png")
    town.Town(desk, pictures=False).places()
    client = client_for(make_pages(desk, make_gate(desk.store), settings=center_settings(map=of)))
    page = client.get("/wall")
    assert "img-src 'self' https://tiles.example blob:;" in page.headers["content-security-policy"]
    assert page.text.count('href="https://tiles.example/') > 8
    assert "tiles.example" not in client.get("/tickets").headers["content-security-policy"]


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A running center with a screen."""

    def prepare(desk):
        make_person(desk.store, "wall", "screen@xiaohe")
        return town.Town(desk, pictures=False).people().places().every_state().waiting()

    with running(tmp_path_factory.mktemp("wall"), prepare) as center:
        yield center, center.made


def test_a_wall_goes_on_through_a_restart_and_says_its_session_ended(visit, street):
    center, made = street
    _, page = visit(center, "/wall", "wall", size=(1920, 1080))
    page.wait_for_selector("#line[data-state=live]")
    page.evaluate("window.untouched = true")
    reported = page.locator("[data-name=reported]")
    before = int(reported.inner_text())
    made.appears(23, 0)
    page.wait_for_function(SHOWS, arg=before + 1)
    center.process.stop()
    page.wait_for_selector("#stale:not([hidden])", timeout=60_000)
    assert "与中心断开" in page.inner_text("#stale")
    made.appears(24, 0)
    center.process.start()
    page.wait_for_function(SHOWS, arg=before + 2, timeout=60_000)
    page.wait_for_selector("#stale", state="hidden")
    center.desk.execute(delete(SignInRow))
    made.appears(20, 0)
    page.wait_for_selector("#stale a:not([hidden])", timeout=60_000)
    assert "登录已于" in page.inner_text("#stale")
    assert page.evaluate("window.untouched")
    assert int(reported.inner_text()) == before + 2


def test_many_updates_leave_nothing_behind(visit, street):
    center, _ = street
    tab, page = visit(center, "/wall", "wall", size=(1920, 1080))
    devtools = tab.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def after(updates):
        """Nodes, listeners and bytes of the heap, once so many updates have replaced every part."""
        page.evaluate(
            """async (count) => {
              const { update } = await import(document.querySelector("script[src*='wall.js']").src);
              for (let i = 0; i < count; i += 1) {
                document.querySelectorAll("[data-live]").forEach((one) => { one.dataset.old = "1"; });
                await update();
              }
            }""",
            updates,
        )
        assert page.locator("[data-old]").count() == 0
        devtools.send("HeapProfiler.collectGarbage")
        found = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
        return found["Nodes"], found["JSEventListeners"], found["JSHeapUsedSize"]

    first, last = after(10), after(60)
    print(json.dumps({"after 10": first, "after 70": last}))
    assert last[0] <= first[0] * 1.05
    assert last[1] <= first[1]
    assert last[2] <= first[2] * 1.1
