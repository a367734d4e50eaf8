"""The page on which zones are drawn: what it refuses and why, who may what, its main jobs by mouse and by finger."""

import json
import random
import time

import pytest
from sqlalchemy import select

from collector.inbox.reading import Delivery
from collector.store import AuditRow, CommandRow, SettingsRow
from protocol.commands import Reply, ReplyEvent, Tried
from protocol.desired import Edit, Reported, ReportedEvent
from protocol.instants import from_epoch
from protocol.messages import dataschema
from protocol.settings import read_document
from tests import browser, town
from tests.browser import click, press, shows
from tests.collector.conftest import Desk
from tests.collector.web.conftest import running
from tests.people import browser as client_of
from tests.people import make_pages, sign_in

BOX, CAMERA = "xiaohe-1", "market"
PATH = f"/cameras/{BOX}/{CAMERA}/zones"
SQUARE = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.1, 0.5]]
LOW = [[0.1, 0.6], [0.9, 0.6], [0.9, 0.9], [0.1, 0.9]]
LOOK_MS = 3000
PLANE = {"points": [[0.3, 0.95], [0.7, 0.95], [0.6, 0.6], [0.4, 0.6]], "width_m": 4, "depth_m": 6}


def settings_of(desk):
    """The newest revision and what is drawn in it."""
    rows = desk.rows(select(SettingsRow).where(SettingsRow.box_id == BOX, SettingsRow.revision.is_not(None)))
    row = max(rows, key=lambda one: one.revision)
    document = json.loads(row.document)
    return row.revision, next(one for one in document["camera"] if one["id"] == CAMERA), document


def said(leaf, data, kind):
    event = kind(
        id=f"{BOX}:{time.time()}",
        source=f"/cityeye/{town.STREET}/{BOX}",
        type=f"cityeye.{leaf.replace('/', '.')}",
        time=from_epoch(time.time()),
        dataschema=dataschema(leaf.replace("/", "-")),
        data=data,
    )
    return Delivery(f"cityeye/1/{town.STREET}/{BOX}/{leaf}", event.to_json())


def report(desk, revision, state="applied", wanted=None, errors=(), edit=None):
    """What the box says of its settings."""
    data = Reported(revision=revision, digest="0" * 64, state=state, wanted=wanted, errors=errors, edit=edit)
    desk.take_any(said("settings/reported", data, ReportedEvent))


def edited(desk, based_on, dwell_s):
    """Somebody edits the box on the spot: another dwell of its first zone."""
    document = settings_of(desk)[2]
    document["camera"][0]["zone"][0]["dwell_s"] = dwell_s
    whole = read_document(document)
    edit = Edit(based_on=based_on, digest=whole.digest(), document=whole.values())
    report(desk, based_on, edit=edit)


@pytest.fixture
def pages(tmp_path):
    desk = Desk(tmp_path)
    town.Town(desk, pictures=False).people().places()
    app = make_pages(desk)
    yield desk, lambda person: signed_in(desk, app, person)
    desk.store.close()


def signed_in(desk, app, person):
    found = client_of(app)
    sign_in(desk.store, person, found)
    return found


def drawing(desk, **changes):
    now = settings_of(desk)[1]
    return {"plane": now.get("plane"), "mask": now.get("mask", []), "zone": now["zone"], **changes}


def zone(name, **more):
    return {"id": name, "kind": "frontage", "polygon": SQUARE, **more}


FAULTY = [
    ([zone("a", polygon=[[0, 0], [1, 1], [1, 0], [0, 1]])], "zone.0.polygon", "边线相互交叉"),
    ([zone("a", polygon=SQUARE[:2])], "zone.0.polygon", "至少需要 3 个角点"),
    ([zone("a", polygon=[[0, 0], [1.2, 0], [1, 1]])], "zone.0.polygon", "超出了画面"),
    ([zone("a", polygon=[[0.1, 0.1], [0.12, 0.1], [0.12, 0.12]])], "zone.0.polygon", "还小"),
    ([zone("a"), zone("a")], "zone.1.id", "已被占用"),
    ([zone("店前")], "zone.0.id", "只能用小写字母"),
    ([zone("a", shop="nobody")], "zone.0.shop", "没有店铺"),
    ([zone("a", dwell_s=-1)], "zone.0.dwell_s", "太小"),
    ([zone("a", dwell_s="soon")], "zone.0.dwell_s", "请填写数字"),
    ([zone("a", min_area_m2=1)], "zone.0.min_area_m2", "先设地面"),
    ([zone("a", allowed=[{"polygon": SQUARE[:2]}])], "zone.0.allowed.0.polygon", "至少需要 3 个角点"),
    ([{**zone("a"), "kind": "gathering"}], "zone.0", "人数上限"),
    (["a"], "", "无法使用"),
]


def test_what_a_box_could_not_use_is_refused_at_its_place(pages):
    desk, client = pages
    page = client("li")
    for zones, where, text in FAULTY:
        answer = page.put(PATH, json={"drawing": drawing(desk, zone=zones), "based_on": 1})
        assert answer.status_code == 422, zones
        found = answer.json()["faults"]
        assert [(one["where"], text in one["text"]) for one in found] == [(where, True)], found
    flat = {**PLANE, "points": [[0.3, 0.9], [0.7, 0.9], [0.6, 0.9], [0.4, 0.9]]}
    found = page.put(PATH, json={"drawing": drawing(desk, plane=flat), "based_on": 1}).json()["faults"]
    assert [one["where"] for one in found] == ["plane"]
    assert page.put(PATH, json={"drawing": [], "based_on": 1}).status_code == 422
    assert page.put(PATH, json={"drawing": drawing(desk), "based_on": 1}).json()["code"] == "same"
    assert settings_of(desk)[0] == 1


def test_a_drawing_is_a_revision_of_its_camera_on_record(pages):
    desk, client = pages
    before = settings_of(desk)[2]
    drawn = drawing(desk, plane=PLANE, zone=[zone("new", polygon=LOW, shop="shop-1", min_area_m2=0.5, dwell_s=60)])
    answer = client("li").put(PATH, json={"drawing": drawn, "based_on": 1})
    assert answer.json()["newest"]["state"] == "wanted"
    revision, camera, after = settings_of(desk)
    assert (revision, camera["zone"], camera["plane"]["depth_m"]) == (2, drawn["zone"], 6)
    others = [[one for one in document["camera"] if one["id"] != CAMERA] for document in (before, after)]
    assert others[0] == others[1]
    assert camera["source"] == next(one for one in before["camera"] if one["id"] == CAMERA)["source"]
    line = desk.one(select(AuditRow).where(AuditRow.action == "zones.drawn"))
    told = json.loads(line.detail)
    assert (line.actor, told["camera"], told["revision"], told["shapes"]) == ("person:li", CAMERA, 2, ["plane", "zone"])
    assert "new" in told["zones"]


def test_what_was_changed_elsewhere_is_never_written_over(pages):
    desk, client = pages
    page = client("li")
    mine = drawing(desk, zone=[zone("mine")])
    # another camera of the box: no conflict
    other = page.put(PATH.replace(CAMERA, "north-gate"), json={"drawing": drawing(desk, zone=[]), "based_on": 1})
    assert other.json()["newest"]["revision"] == 2
    report(desk, 2, wanted=2)
    edited(desk, 2, 77)
    answer = page.put(PATH, json={"drawing": mine, "based_on": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "changed")
    newest = answer.json()["state"]["newest"]
    assert (newest["revision"], newest["on_box"], newest["drawing"]["zone"][0]["dwell_s"]) == (3, True, 77)
    assert settings_of(desk)[1]["zone"][0]["dwell_s"] == 77
    assert page.put(PATH, json={"drawing": mine, "based_on": 3}).json()["newest"]["revision"] == 4
    # the box was edited before it heard of that: both are there until somebody chooses
    edited(desk, 3, 99)
    state = page.get(f"{PATH}/state").json()
    assert [one["id"] for one in state["newest"]["drawing"]["zone"]] == ["mine"]
    assert state["conflict"]["drawing"]["zone"][0]["dwell_s"] == 99
    chosen = page.put(PATH, json={"drawing": state["conflict"]["drawing"], "based_on": 4}).json()
    assert (chosen["newest"]["revision"], chosen["conflict"]) == (5, None)


def test_who_may_draw_and_who_may_change_masks(pages):
    desk, client = pages
    masked = {"drawing": drawing(desk, mask=[{"polygon": SQUARE}]), "based_on": 1}
    refused = client("li").put(PATH, json=masked)
    assert [one["where"] for one in refused.json()["faults"]] == ["mask"]
    for person in ("wang", "chen", "sun", "wu"):
        page = client(person)
        shown = page.get(PATH).text
        assert 'data-do="save"' not in shown
        assert page.put(PATH, json=masked).status_code == 403, person
        assert page.post(f"{PATH}/try", json=masked).status_code == 403, person
    assert client("zhao").put(PATH, json=masked).status_code == 200
    assert client("li").get("/cameras/nowhere/market/zones").status_code == 404


# in a browser


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    def prepare(desk):
        town.fill(desk)
        with desk.store.writing() as session:
            row = session.scalars(select(SettingsRow).where(SettingsRow.box_id == BOX)).one()
            document = json.loads(row.document)
            for camera in document["camera"]:
                camera["zone"] = camera["zone"][:1]
            row.document = json.dumps(document)

    with running(tmp_path_factory.mktemp("zones"), prepare) as center:
        yield center


def at(board, x, y):
    """Where a share of the picture is on the screen."""
    box = board.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page, board, start, end):
    page.mouse.move(*at(board, *start))
    page.mouse.down()
    page.mouse.move(*at(board, *end), steps=3)
    page.mouse.up()


def shown(page, look, high=None):
    """Corners of what is drawn in this look, of a picture so high in its units."""
    text = page.locator(f"#board polygon.{look}:not(.under)").first.get_attribute("points")
    high = high or float(page.locator("#board").get_attribute("viewBox").split()[3])
    corners = [one.split(",") for one in text.split()]
    return [(float(x) / 1000, float(y) / high) for x, y in corners]


def test_a_zone_is_drawn_named_sent_and_followed(chromium, center):
    with browser.Tab(chromium, center, "li") as tab:
        tab.page.clock.install()
        page = tab.open(PATH)
        board = page.locator("#board")

        def told(text, *args, say=report, **more):
            """Have the page look again once the box has said something."""
            say(center.desk, *args, **more)
            page.clock.fast_forward(LOOK_MS)
            page.get_by_text(text).first.wait_for()

        shows(page, "已在盒子上生效")
        # the ground, and its grid
        click(page, "地面")
        for corner in PLANE["points"]:
            page.mouse.click(*at(board, *corner))
        assert page.locator("#board .grid").count() > 10
        page.locator("[data-form=plane] [name=depth_m]").fill("6")
        # another shop front; the first corner again ends it
        click(page, "店前区")
        corners = [(0.35, 0.65), (0.65, 0.65), (0.7, 0.9), (0.3, 0.9)]
        for corner in (*corners, corners[0]):
            page.mouse.click(*at(board, *corner))
        form = page.locator("[data-form=zone]")
        form.locator("[name=id]").fill("front-1")
        form.locator("[name=shop]").select_option("shop-3")
        form.locator("[name=dwell_s]").fill("240")
        form.locator("[name=min_area_m2]").fill("0.5")
        shows(page, "边长 0.71 米")
        shows(page, "到 09:04:00 仍在就上报")
        # a name that is taken is said at its field
        click(page, "保存并下发")
        shows(form, "名称 front-1 已被占用")
        form.locator("[name=id]").fill("tea")
        click(page, "保存并下发")
        shows(page, "已保存，正在下发到盒子")
        revision, camera, _ = settings_of(center.desk)
        made = camera["zone"][-1]
        assert (made["id"], made["shop"], made["dwell_s"], made["min_area_m2"]) == ("tea", "shop-3", 240, 0.5)
        assert made["polygon"] == [pytest.approx(one, abs=0.002) for one in corners]
        assert camera["plane"]["depth_m"] == 6
        told("盒子试运行中", revision, "pending", wanted=revision)
        for state, text in (("rejected", "盒子拒绝"), ("rolled_back", "盒子已回退")):
            told(text, revision - 1, state, wanted=revision, errors=(f"it is {state}",))
            assert f"it is {state}" in page.inner_text("#standing")
        told("已在盒子上生效", revision, wanted=revision)
        # edited on the spot meanwhile: shown beside what is drawn here, and kept as the box has it
        page.locator("#board").press("PageDown")
        press(page, "ArrowRight")
        told("区域 front-1 不同", revision, 500, say=edited)
        page.get_by_role("heading", name="其间在盒子上改过").wait_for()
        click(page, "对照")
        assert page.locator("#board .extra.other").count() == 3
        for _ in range(2):
            click(page, "保留盒子上的")
        page.locator("#conflict").wait_for(state="hidden")
        assert settings_of(center.desk)[1]["zone"][0]["dwell_s"] == 500
        # edited before the box had what the center wants: neither is lost, and what is drawn here is taken
        told("区域 front-1 不同", revision, 77, say=edited)
        click(page, "采用此处所画")
        page.locator("#conflict").wait_for(state="hidden")
        newest, camera, _ = settings_of(center.desk)
        assert (newest, camera["zone"][0]["dwell_s"]) == (revision + 2, 500)
        tab.forgive("422")
        page.evaluate("scrollTo(0, 0)")
        tab.check()


def test_thirty_steps_give_exactly_what_was_drawn(visit, center):
    """The sheet has its own test of random steps; here they go through pointers, handles and keys."""
    chance = random.Random(7)
    tab, page = visit(center, "/cameras/xiaohe-1/north-gate/zones")
    board = page.locator("#board")
    page.locator("#snap").uncheck()
    page.locator("#shapes button").first.click()
    board.scroll_into_view_if_needed()
    now, past, future, made = shown(page, "chosen"), [], [], set()
    wide = board.bounding_box()["width"]
    for _ in range(30):
        choice = chance.choice(["drag", "drag", "drag", "insert", "delete", "undo", "undo", "redo"])
        corner = chance.randrange(len(now))
        target = (chance.uniform(0.05, 0.95), chance.uniform(0.3, 0.95))
        clear = all(abs(target[0] - x) * wide > 40 for x, _ in now)
        if choice == "undo":
            press(page, "Control+z")
            if past:
                future.append(now)
                now = past.pop()
        elif choice == "redo":
            press(page, "Control+y")
            if future:
                past.append(now)
                now = future.pop()
        elif choice == "drag" and clear:
            drag(page, board, now[corner], target)
            past, future = [*past, now], []
            now = [target if n == corner else one for n, one in enumerate(now)]
        elif choice == "insert" and len(now) < 7:
            following = now[(corner + 1) % len(now)]
            middle = tuple((a + b) / 2 for a, b in zip(now[corner], following, strict=True))
            if all(abs(middle[0] - x) * wide > 30 for x, _ in now):
                page.mouse.click(*at(board, *middle))
                past, future = [*past, now], []
                now = [*now[: corner + 1], middle, *now[corner + 1 :]]
        elif choice == "delete" and len(now) > 3:
            page.mouse.click(*at(board, *now[corner]))
            press(page, "Delete")
            past, future = [*past, now], []
            now = [one for n, one in enumerate(now) if n != corner]
        made.add((choice, str(now)))
        found = shown(page, "chosen")
        assert found == [pytest.approx(one, abs=0.0015) for one in now], choice
    assert len(made) > 12
    tab.check(axe=False)


def touch(session, kind, *points):
    session.send(
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]},
    )


def test_on_a_phone_a_finger_moves_corners_and_the_page_stays(visit, center):
    tab, page = visit(center, "/cameras/xiaohe-1/north-gate/zones", size=browser.NARROW, theme="dark")
    board = page.locator("#board")
    fingers = tab.context.new_cdp_session(page)
    page.get_by_role("button", name="聚集区").tap()
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
    board.scroll_into_view_if_needed()
    for corner in corners:
        page.touchscreen.tap(*at(board, *corner))
    page.get_by_role("button", name="完成").tap()
    board.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    high = page.evaluate("scrollY")
    # a finger that is 18 px beside the corner takes it
    x, y = at(board, 0.8, 0.8)
    touch(fingers, "touchStart", (x + 12, y + 12))
    for part in (0.25, 0.5, 0.75, 1):
        touch(fingers, "touchMove", (x + 12 - 60 * part, y + 12 - 70 * part))
    touch(fingers, "touchEnd")
    page.wait_for_timeout(100)
    box = board.bounding_box()
    moved = shown(page, "chosen")[2]
    assert moved == pytest.approx((0.8 - 60 / box["width"], 0.8 - 70 / box["height"]), abs=0.03)
    assert page.evaluate("scrollY") == high
    # two fingers look closer, and draw nothing
    steps = page.locator("[data-do=redo]")
    x, y = at(board, 0.5, 0.5)
    touch(fingers, "touchStart", (x - 20, y), (x + 20, y))
    for part in (20, 40, 60):
        touch(fingers, "touchMove", (x - 20 - part, y), (x + 20 + part, y))
    touch(fingers, "touchEnd")
    page.wait_for_timeout(100)
    assert 230 < float(board.get_attribute("viewBox").split()[2]) < 280
    assert steps.is_disabled()
    enlarged = shown(page, "chosen", 563)
    assert enlarged == [pytest.approx(one, abs=0.03) for one in [*corners[:2], moved, corners[3]]]
    assert page.evaluate("scrollY") == high
    page.get_by_role("button", name="保存并下发").tap()
    shows(page, "已保存")
    page.evaluate("scrollTo(0, 0)")
    tab.check()


def test_what_the_last_hour_would_have_been_is_shown(visit, center):
    tab, page = visit(center, PATH)
    click(page, "用最近一小时试算")
    command = page.wait_for_function(
        """() => performance.getEntriesByType("resource")
          .map((one) => /asked\\/(.+)$/.exec(one.name)?.[1]).find(Boolean)"""
    ).json_value()
    asked = center.desk.get(CommandRow, command)
    assert json.loads(asked.args)["zone"] == settings_of(center.desk)[1]["zone"]
    begun_s = time.time() - 3000
    one = {
        "zone": "front-1", "rule": "encroachment", "opened_at": from_epoch(begun_s),
        "reported_at": from_epoch(begun_s + 180), "cleared_at": from_epoch(begun_s + 900),
        "place": [0.4, 0.5, 0.2, 0.2], "area_m2": 1.4,
    }  # fmt: skip
    data = {"camera": CAMERA, "samples": 300, "whole": True, "learned": ["front-1"], "incidents": [one]}
    data |= {"from_at": from_epoch(begun_s - 60), "until_at": from_epoch(begun_s + 3000)}
    reply = Reply(command=command, outcome="ok", data=Tried.model_validate(data).model_dump(mode="json"))
    center.desk.take_any(said("reply", reply, ReplyEvent))
    shows(page, "本应上报：1 起")
    shows(page, "15分钟")
    assert page.locator("#board .extra.tried").count() == 1
    page.evaluate("scrollTo(0, 0)")
    tab.check()
