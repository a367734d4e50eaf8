"""Shops, permits and grids, for tests of the collector."""

import json

from collector.people.actor import Actor, Grant, Role
from collector.places.history import Author
from collector.places.register import Around
from collector.store import Box, SettingsRow
from protocol.settings import read_document

NOW_MS = 1_780_000_000_000  # 2026-05-28, 20:26:40 in Shanghai
CLERK = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR)}))
AUTHOR = Author(CLERK, NOW_MS)
AROUND = Around("330105", NOW_MS)

SHOP = {
    "id": "tea-12",
    "name": "示例茶铺",
    "street": "s",
    "address": "示例路 12 号",
    "owner": "张三",
    "phone": "138 0000 0000",
    "zones": "box-1/cam-1/front",
}
PERMIT = {
    "number": "外摆-7",
    "issuer": "示例区城管局",
    "shop": "tea-12",
    "from_day": "2026-05-01",
    "until_day": "2026-09-30",
    "hours": "18:00-22:00",
}


def box(session, box_id="box-1", site="s", zones=None):
    """A box that is known, with settings that give its zones to shops."""
    session.add(Box(id=box_id, site=site, state_since_ms=0, seen_ms=0))
    session.flush()
    if zones is None:
        return
    corners = [[0.12, 0.58], [0.88, 0.58], [0.96, 0.86], [0.04, 0.86]]
    cameras = {}
    for (camera, zone), shop in zones.items():
        named = {} if shop is None else {"shop": shop}
        cameras.setdefault(camera, []).append({"id": zone, "kind": "frontage", "polygon": corners, **named})
    values = {"camera": [{"id": name, "source": "rtsp://10.0.0.5/a", "zone": held} for name, held in cameras.items()]}
    document = read_document(values)
    row = SettingsRow(
        box_id=box_id,
        revision=1,
        based_on=0,
        document=json.dumps(document.values()),
        digest=document.digest(),
        by="box",
        made_ms=0,
        state="applied",
    )
    session.add(row)
    session.flush()


def square(code, west, south, size=0.001, **properties):
    """A square cell as GeoJSON."""
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "properties": {"code": code, **properties},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def collection(*features, **more):
    """A file of cells."""
    return json.dumps({"type": "FeatureCollection", "features": features, **more}, ensure_ascii=False).encode()
