"""The browser's drawing modules: what was drawn is what there is, and both languages measure alike."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.geometry import polygon_fault
from protocol.plane import Plane, PlaneError
from tests import browser
from tests.services import ROOT

AT = "http://drawing.test/"
RUN = """async (steps) => {
  const { Sheet } = await import("/sheet.js");
  const points = [[.1, .1], [.4, .1], [.4, .5], [.1, .5]];
  const sheet = new Sheet([{ key: 1, kind: "zone", of: null, values: {}, points }]);
  for (const [name, ...args] of steps) {
    if (name === "drag") {
      const [key, corner, ways] = args;
      for (const one of ways) sheet.move(key, corner, one);
      sheet.settle();
    } else { sheet[name](...args); if (name === "insert") sheet.settle(); }
  }
  return [sheet.now.shapes.map((one) => [one.key, one.points]), sheet.now.open && sheet.now.open.points];
}"""
share = st.integers(-2000, 12_000).map(lambda number: number / 10_000 + 0.00003)
point = st.tuples(share, share)
key, corner = st.integers(1, 3), st.integers(0, 5)
gestures = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), st.just("zone")),
        st.tuples(st.just("point"), point),
        st.tuples(st.just("point"), point),
        st.tuples(st.just("close")),
        st.tuples(st.just("give_up")),
        st.tuples(st.just("drag"), key, corner, st.lists(point, min_size=1, max_size=4)),
        st.tuples(st.just("insert"), key, corner, point),
        st.tuples(st.just("remove"), key, corner),
        st.tuples(st.just("drop"), key),
        st.tuples(st.just("undo")),
        st.tuples(st.just("undo")),
        st.tuples(st.just("redo")),
    ),
    min_size=30,
    max_size=30,
)


@pytest.fixture(scope="module")
def page():
    with browser.chromium() as chromium:
        page = chromium.new_page()

        def send(route):
            name = route.request.url.removeprefix(AT)
            path = ROOT / "protocol" / "drawing" / name
            if name and path.is_file():
                route.fulfill(body=path.read_text(), content_type="text/javascript")
            else:
                route.fulfill(body="<!doctype html><title>drawing</title>", content_type="text/html")

        page.route("**", send)
        page.goto(AT)
        yield page


def drawn(steps):  # noqa: PLR0912 - one branch for each gesture
    """What must be there after these steps: a second, plainer telling of what each gesture means."""

    def fit(at):
        return tuple(min(max(round(one * 10_000), 0), 10_000) for one in at)

    now = ({1: [fit(one) for one in ((0.1, 0.1), (0.4, 0.1), (0.4, 0.5), (0.1, 0.5))]}, None, 2)
    past, future = [], []
    for name, *args in steps:
        shapes, open_, following = now
        if name == "undo":
            if past:
                future.append(now)
                now = past.pop()
            continue
        if name == "redo":
            if future:
                past.append(now)
                now = future.pop()
            continue
        made = {number: list(corners) for number, corners in shapes.items()}
        then = None
        if name == "draw":
            then = made, [], following
        elif name == "point" and open_ is not None and fit(args[0]) not in open_:
            then = made, [*open_, fit(args[0])], following
        elif name == "close" and open_ is not None and len(open_) >= 3:
            then = made | {following: open_}, None, following + 1
        elif name == "give_up" and open_ is not None:
            then = made, None, following
        elif name in ("drag", "insert", "remove", "drop") and args[0] in made:
            corners = made[args[0]]
            if name == "drop":
                del made[args[0]]
                then = made, open_, following
            elif args[1] < len(corners):
                if name == "insert":
                    corners.insert(args[1] + 1, fit(args[2]))
                    then = made, open_, following
                elif name == "remove" and len(corners) > 3:
                    corners.pop(args[1])
                    then = made, open_, following
                elif name == "drag":
                    ways = [fit(one) for one in args[2]]
                    # back where it began is a step as well; nowhere at all is none
                    if set(ways) != {corners[args[1]]}:
                        corners[args[1]] = ways[-1]
                        then = made, open_, following
        if then is not None:
            past.append(now)
            now, future = then, []
    return now[0], now[1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=gestures)
def test_thirty_random_gestures_with_undo_and_redo_give_exactly_the_polygons_that_were_drawn(page, steps):
    shapes, open_ = page.evaluate(RUN, json.loads(json.dumps(steps)))

    def whole(points):
        return [tuple(round(one * 10_000) for one in at) for at in points]

    expected = drawn(steps)
    assert {key: whole(points) for key, points in shapes} == expected[0]
    assert (None if open_ is None else whole(open_)) == expected[1]


def test_a_polygon_is_good_in_the_browser_where_it_is_good_in_the_settings(page):
    random = np.random.default_rng(4)
    polygons = [random.integers(0, 8, (count, 2)) / 8 for count in (2, 3, 4, 4, 5, 6) for _ in range(60)]
    polygons = [[tuple(at) for at in one.tolist()] for one in polygons]
    found = page.evaluate("(all) => import('/polygon.js').then(({ fault }) => all.map((one) => fault(one)))", polygons)
    words = {"few": "at least 3", "same": "same point", "crossing": "cross each other", "flat": "no area", None: None}
    for polygon, code in zip(polygons, found, strict=True):
        said = polygon_fault(polygon)
        assert (code is None) == (said is None), polygon
        assert code is None or words[code] in said
    assert len(set(found)) == 5


def test_the_ground_is_measured_alike_in_the_browser_and_on_the_box(page):
    random = np.random.default_rng(5)
    cases = []
    for _ in range(200):
        points = np.array([[0.3, 0.8], [0.7, 0.8], [0.6, 0.4], [0.4, 0.4]]) + random.uniform(-0.25, 0.25, (4, 2))
        width, depth = random.uniform(0.5, 12, 2)
        polygon = random.uniform(0, 1, (4, 2))
        cases.append([points.clip(0, 1).round(4).tolist(), width, depth, polygon.round(4).tolist()])
    found = page.evaluate(
        """async (all) => {
      const { Ground } = await import("/ground.js");
      return all.map(([points, width, depth, polygon]) => {
        const ground = new Ground(points, width, depth);
        if (ground.fault) return ground.fault;
        return [ground.area_m2(polygon), ground.square(polygon[0], 2), ground.grid([800, 450]).length];
      });
    }""",
        cases,
    )
    measured = 0
    for (points, width, depth, polygon), got in zip(cases, found, strict=True):
        try:
            plane = Plane.from_rectangle([tuple(one) for one in points], width, depth)
        except PlaneError:
            assert isinstance(got, str), points
            continue
        area, square, lines = got
        assert lines > 0
        try:
            expected = plane.area_m2([tuple(one) for one in polygon])
        except PlaneError:
            assert area is None
        else:
            assert area == pytest.approx(expected, rel=1e-6)
            measured += 1
        if square is not None:
            # what is drawn as two square metres is two square metres
            assert plane.area_m2([tuple(one) for one in square]) == pytest.approx(2, rel=1e-6)
    assert measured > 20
