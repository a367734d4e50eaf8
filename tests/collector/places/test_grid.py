"""The unit grid: what is a cell, what two of them share, and which one a position is in."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from collector.places import grid
from collector.places.history import history
from collector.places.register import Around
from collector.store import GridCell, PlaceRevision
from protocol.geometry import contains, polygon_area, polygon_fault
from tests.places import AROUND, AUTHOR, NOW_MS, collection, square

A, B, C = "330105001001001", "330105001001002", "33010500100103"


def take(desk, *features, **how):
    content = features[0] if features and isinstance(features[0], bytes) else collection(*features)
    return desk.write(grid.import_grid, content, AUTHOR, AROUND, **how)


def at(desk, lon, lat):
    return desk.read(grid.cell_at, lon, lat)


def told(faults):
    return [(one.row, one.field, one.code) for one in faults]


def test_a_position_is_in_one_cell(desk):
    report = take(desk, square(A, 120.130, 30.310, name="甲"), square(B, 120.131, 30.310), square(C, 120.130, 30.311))
    assert (report.good, report.added, told(report.warnings)) == (True, 3, [])
    assert at(desk, 120.1305, 30.3105) == A
    assert at(desk, 120.1315, 30.3105) == B
    assert at(desk, 120.1305, 30.3115) == C
    assert at(desk, 120.1325, 30.3105) is None
    # on an edge it is always the same one
    assert at(desk, 120.131, 30.3105) == A
    assert at(desk, 120.130, 30.310) == A


def test_a_second_survey_changes_and_retires(desk):
    take(desk, square(A, 120.130, 30.310), square(B, 120.131, 30.310))
    report = take(desk, square(A, 120.130, 30.310, name="甲"), square(C, 120.131, 30.310))
    assert (report.added, report.changed, [one.code for one in report.warnings]) == (1, 1, ["overlap"])
    report = take(desk, square(A, 120.130, 30.310, name="甲"), square(C, 120.131, 30.310), replace_all=True)
    assert (report.added, report.changed, report.unchanged, report.warnings) == (0, 1, 2, ())
    assert at(desk, 120.1315, 30.3105) == C
    assert [one["action"] for one in desk.read(history, "cell", B)] == ["retired", "added"]
    assert [row.code for row in desk.read(grid.listed)] == [A, C]
    # what was retired may come back
    assert take(desk, square(B, 120.141, 30.310)).changed == 1


def test_overlaps_are_told_with_their_area_without_slivers(desk):
    report = take(desk, square(A, 120.130, 30.310), square(B, 120.1305, 30.310), square(C, 120.132, 30.31, 0.0005))
    assert told(report.warnings) == [(1, "geometry", "overlap")]
    assert report.warnings[0].text.en == f"{A} and {B} overlap by 5337 m²"  # half of 96 m by 111 m
    assert report.good
    assert take(desk, square(B, 120.1309999, 30.310)).warnings == ()


def test_what_is_exported_is_imported_as_it_was(desk):
    take(desk, square(A, 120.130, 30.310, name="甲"), square(B, 120.131, 30.310))
    features = [grid.feature(row) for row in desk.read(grid.listed)]
    assert take(desk, *features).unchanged == 2


def test_a_code_of_another_region_is_told(desk):
    report = take(desk, square("110105001001001", 120.13, 30.31))
    assert told(report.warnings) == [(1, "code", "region")]
    with desk.store.writing() as session:
        nowhere = Around("", NOW_MS)
        content = collection(square("110105001001001", 120.13, 30.31))
        assert grid.import_grid(session, content, AUTHOR, nowhere).warnings == ()


def ring(*corners):
    return {"type": "Feature", "properties": {"code": A}, "geometry": {"type": "Polygon", "coordinates": [corners]}}


def with_code(**properties):
    return {**square(A, 120.13, 30.31), "properties": properties}


def holed(*hole):
    cell = square(A, 0, 0, 1)
    cell["geometry"]["coordinates"].append(list(hole))
    return cell


def crs(name):
    return {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{name}"}}


CELL = square(A, 120.13, 30.31)
MANY = CELL | {"geometry": {"type": "MultiPolygon", "coordinates": [CELL["geometry"]["coordinates"]]}}
BOW = ring([0, 0], [1, 1], [1, 0], [0, 1], [0, 0])
SHAPES = [
    ("crosses", BOW),
    ("not_closed", ring([0, 0], [1, 0], [1, 1], [0, 1])),
    ("corners", ring([0, 0], [1, 0], [0, 0])),
    ("crosses", ring([0, 0], [1, 1], [2, 2], [0, 0])),
    ("no_area", ring([0, 0], [1e-9, 0], [1e-9, 1e-9], [0, 0])),
    ("position", ring([0, 0], ["1", 0], [1, 1], [0, 0])),
    ("position", ring([0, 0], [True, 0], [1, 1], [0, 0])),
    ("position", ring([0], [1, 0], [1, 1], [0])),
    ("position", ring([500000, 3350000], [500100, 3350000], [500100, 3350100], [500000, 3350000])),
    ("position", ring([30.31, 120.13], [30.32, 120.13], [30.32, 120.14], [30.31, 120.13])),
    ("geometry", {**square(A, 1, 1), "geometry": None}),
    ("geometry", {**square(A, 1, 1), "geometry": {"type": "Point", "coordinates": [1, 1]}}),
    ("position", ring([0, 0], [float("nan"), 0], [1, 1], [0, 0])),
    ("too_wide", ring([179.99, 30], [-179.99, 30], [-179.99, 30.01], [179.99, 30])),
    ("crosses", holed([2, 2], [2.1, 2], [2.1, 2.1], [2, 2])),
    ("crosses", holed([0.5, 0.5], [1.5, 0.5], [0.5, 0.6], [0.5, 0.5])),
    ("corners", ring(*[[0, n / 1e6] for n in range(1_000_000)])),
]
WRONG = [
    *[([one], (1, "geometry", code)) for code, one in SHAPES],
    ([square(A, 120.13, 30.31), {**BOW, "properties": {"code": B}}], (2, "geometry", "crosses")),
    ([with_code(code="1234")], (1, "code", "cell_code")),
    ([with_code(code=3301050010010011)], (1, "code", "cell_code")),
    ([with_code(other=A)], (1, "code", "missing")),
    ([with_code(code=None)], (1, "code", "missing")),
    ([with_code(code=float("nan"))], (1, "code", "cell_code")),
    ([with_code(code=float("inf"))], (1, "code", "cell_code")),
    ([square(f"33010500100{n:04d}", 1, 1) for n in range(1000)], (226, "geometry", "overlap")),
    ([square(A, 1, 1), square(A, 2, 2)], (2, "code", "twice")),
    (["x"], (1, "type", "feature")),
    ([{**BOW, "properties": {"code": "1"}}, square(A, 1, 1)], (1, "code", "cell_code"), (1, "geometry", "crosses")),
    ([None], (1, "type", "feature")),
]


def tried(store, content):
    with store.writing() as session:
        report = grid.import_grid(session, content, AUTHOR, AROUND)
        kept = session.scalar(select(func.count()).select_from(GridCell))
        revisions = session.scalar(select(func.count()).select_from(PlaceRevision))
        session.rollback()
    assert (kept, revisions) == ((report.added, report.added) if report.good else (0, 0))
    assert all(str(one) and json.dumps(one.as_json()) for one in (*report.faults, *report.warnings))
    return report


@pytest.mark.parametrize(("features", "expected"), [(features, expected) for features, *expected in WRONG])
def test_what_is_no_cell_is_named_and_nothing_is_taken(store, features, expected):
    assert told(tried(store, collection(*features)).faults) == expected


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"[" * 100_000, "json"),
        (b'{"type": "FeatureCollection", "features": [NaN]}', "feature"),
        (b'{"type": "FeatureCollection", "features": [' + b"[]," * grid.MAX_LISTS + b"[]]}", "too_big"),
        (b'{"type": "FeatureCollection", "features": 1}', "geojson"),
        (b"[]", "geojson"),
        (b'{"type": "FeatureCollection", "features": []}', "cells"),
        ('{"名": 1}'.encode("gbk"), "encoding"),
        (collection(square(A, 1, 1), crs=crs("EPSG::3857")), "crs"),
        (collection(square(A, 1, 1), crs=7), "crs"),
        (bytes(grid.MAX_BYTES + 1), "too_big"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(store, content, code):
    assert [one.code for one in tried(store, content).faults] == [code]


@pytest.mark.parametrize(
    "feature",
    [
        with_code(编码=A),
        with_code(BGCODE=int(A)),
        with_code(bgcode=float(A[:14])),
        {**with_code(), "id": A},
        MANY,
        ring([0, 0, 5], [1, 0, 5], [1, 1, 5], [0, 0, 5]),
    ],
)
def test_cells_as_mapping_programs_write_them(store, feature):
    assert tried(store, collection(feature)).good
    assert tried(store, collection(feature, crs=crs("OGC:1.3:CRS84"))).good


def test_the_property_of_the_code_may_be_named(store):
    with store.writing() as session:
        content = collection(with_code(nr=A, code="7"))
        assert grid.import_grid(session, content, AUTHOR, AROUND, code_name="NR", dry_run=True).good


hundredths = st.integers(0, 40).map(lambda one: one / 100)
polygons = st.lists(st.tuples(hundredths, hundredths), min_size=3, max_size=8, unique=True)


@settings(deadline=None, max_examples=200)
@given(polygons, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=20))
def test_cells_and_lookups_agree_with_another_way(store, corners, points):
    """Against the polygons of pictures, which were written apart from this and on plain floats."""
    report = tried(store, collection(ring(*map(list, corners), list(corners[0]))))
    fault = polygon_fault(corners)
    if fault is None or polygon_area(corners) > 1e-6:
        assert report.good == (fault is None)
    if not report.good:
        return
    with store.writing() as session:
        grid.import_grid(session, collection(ring(*map(list, corners), list(corners[0]))), AUTHOR, AROUND)
        # points beside the lines on which all corners lie, so that none is on an edge by chance
        places = np.array([(x / 1000 + 0.00037, y / 1000 + 0.00041) for x, y in points])
        inside = contains(corners, places)
        found = [grid.cell_at(session, *place) for place in places.tolist()]
        near = _near_an_edge(corners, places)
        assert [one is not None for one, close in zip(found, near, strict=True) if not close] == inside[~near].tolist()
        session.rollback()


def _near_an_edge(corners, places):
    near = np.zeros(len(places), bool)
    for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
        side = np.subtract(b, a)
        along = np.clip(((places - a) @ side) / (side @ side), 0, 1)
        near |= np.hypot(*(places - a - along[:, None] * side).T) < 1e-9
    return near


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "features", "geometry", "coordinates", "properties", "code"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(json_values, st.integers(0, 5))
def test_no_json_breaks_the_import(store, value, depth):
    polygon = {"type": "Polygon", "coordinates": value}
    features = [
        value,
        [value],
        *([CELL | {"geometry": one}] for one in (value, polygon)),
        [CELL | {"properties": value}],
    ]
    places = [value, *({"type": "FeatureCollection", "features": one} for one in features)]
    places[-1]["crs"] = value
    tried(store, json.dumps(places[depth]).encode())
