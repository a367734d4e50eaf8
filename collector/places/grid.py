"""The unit grid (GB/T 30428.1): cells imported from GeoJSON (RFC 7946), and the cell of a position.

Cells meet at their edges; a position on an edge is in the cell with the smallest code, so that it is always in the same
one.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import shapely
from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.places import fields
from collector.places.faults import BadValueError, Fault, PlacesError, Text, shown
from collector.places.history import Author, Step, keep
from collector.places.register import LOCK, Around, Report
from collector.places.shapes import area_m2, covers, polygon_of
from collector.store import GridCell, lock, rewrite, write

MAX_BYTES: Final = 32 << 20
MAX_CELLS: Final = 10_000
MAX_CORNERS: Final = 10_000
"""Of one cell, its holes included."""
MAX_LISTS: Final = 2_000_000
"""Positions and what holds them, of a whole file; as Python reads them, each costs a hundred bytes."""
MAX_DEGREES: Final = 2.0
"""Cells are some hundred metres wide. One that crosses the 180th meridian without being cut there spans the world."""
MAX_TOUCHING: Final = 200_000
"""Pairs of cells that are compared; in a grid, each touches some eight others."""
OVERLAP: Final = 0.001
"""Share of the smaller cell; less is what surveys and rounding leave at edges."""
OVERLAP_M2: Final = 1.0
ACTIVE: Final = "active"
RETIRED: Final = "retired"
CODE_NAMES: Final = (
    "code",
    "cell_code",
    "grid_code",
    "bgcode",
    "编码",
    "网格编码",
    "单元网格编码",
    "单元网格代码",
    "标识码",
)
NAME_NAMES: Final = ("name", "bgname", "名称", "网格名称", "单元网格名称")
WGS84: Final = ("CRS84", "4326", "4490")
"""What the name of a reference system ends with that is WGS84, or within centimetres of it (CGCS2000, EPSG:4490)."""

Ring = tuple[fields.Position, ...]


@dataclass(frozen=True)
class Cell:
    """A cell.

    Args:
        code: 14 or 15 digits.
        rings: the outer ring and holes, closed, longitude and latitude.
    """

    code: str
    name: str
    rings: tuple[Ring, ...]
    state: str = ACTIVE
    revision: int = 0


def cell_at(session: Session, lon: float, lat: float) -> str | None:
    """Code of the cell that a position is in; None outside all of them."""
    return next((cell.code for cell in cells_at(session, lon, lat)), None)


def lookup(session: Session) -> Callable[[float, float], str | None]:
    """What finds the cell of any position, all cells being read once."""
    cells = [(cell.code, cell.west, cell.east, cell.south, cell.north, _shape(cell.rings)) for cell in listed(session)]

    def find(lon: float, lat: float) -> str | None:
        return next(
            (
                code
                for code, west, east, south, north, shape in cells
                if west <= lon <= east and south <= lat <= north and covers(shape, lon, lat)
            ),
            None,
        )

    return find


def cells_at(session: Session, lon: float, lat: float) -> Iterator[GridCell]:
    """Active cells that a position is in or on the edge of, by code; several at edges, and where cells overlap."""
    query = select(GridCell).where(
        GridCell.state == ACTIVE,
        GridCell.west <= lon,
        GridCell.east >= lon,
        GridCell.south <= lat,
        GridCell.north >= lat,
    )
    for row in session.scalars(query.order_by(GridCell.code)):
        if covers(_shape(row.rings), lon, lat):
            yield row


@lru_cache(maxsize=4096)
def _shape(rings: str) -> Any:
    first, *holes = json.loads(rings)
    shape = shapely.Polygon(first, holes)
    shapely.prepare(shape)
    return shape


def any_cells(session: Session) -> bool:
    """Whether there is a grid."""
    return session.scalars(select(GridCell.code).where(GridCell.state == ACTIVE).limit(1)).first() is not None


def listed(session: Session, *, state: str | None = ACTIVE) -> Sequence[GridCell]:
    """Cells by code."""
    query = select(GridCell).order_by(GridCell.code)
    return session.scalars(query if state is None else query.where(GridCell.state == state)).all()


def feature(row: GridCell) -> dict[str, Any]:
    """A cell as GeoJSON; `import_grid` takes it as it is."""
    return {
        "type": "Feature",
        "properties": {"code": row.code, "name": row.name, "area_m2": round(row.area_m2, 1)},
        "geometry": {"type": "Polygon", "coordinates": json.loads(row.rings)},
    }


def import_grid(
    session: Session,
    content: bytes,
    author: Author,
    around: Around,
    *,
    replace_all: bool = False,
    code_name: str | None = None,
    dry_run: bool = False,
) -> Report:
    """Take cells from GeoJSON, all or none; never raises for what is in it.

    Args:
        session: a transaction that writes (`Store.writing`).
        content: the file.
        author: who imports it; `source` is filled in.
        around: the center's region is what codes should begin with.
        replace_all: cells that are not in it are retired.
        code_name: the property that holds the code, where it has a name of its own.
        dry_run: only say what would become of it.
    """
    source = hashlib.sha256(content).hexdigest()
    lock(session, [LOCK])
    faults: list[Fault] = []
    try:
        features = read_features(content)
        read = read_cells(features, code_name, faults)
    except PlacesError as fault:
        return Report("cell", "GeoJSON", source, dry_run, 0, faults=tuple(fault.faults))
    cells = [cell for _, cell, _ in read]
    known = {row.code: row for row in listed(session, state=None)}
    changes, retired = _changes(known, cells, replace_all=replace_all)
    warnings = [*_warn_regions(read, around.region), *_overlaps(read, known, {cell.code for cell in retired}, faults)]
    if not faults and not dry_run:
        _apply(session, [*changes, *retired], known, replace(author, source=source))
    added = sum(cell.code not in known for cell in changes)
    return Report(
        kind="cell",
        how="GeoJSON",
        source=source,
        dry_run=dry_run,
        rows=len(features),
        added=added,
        changed=len(changes) - added + len(retired),
        unchanged=len(cells) - len(changes),
        faults=tuple(faults),
        warnings=tuple(warnings),
    )


def read_features(content: bytes) -> list[Any]:
    """Features of a GeoJSON file; raises PlacesError."""
    if len(content) > MAX_BYTES:
        raise PlacesError.of(
            "too_big",
            f"文件最大 {MAX_BYTES >> 20} MB",
            f"expected a file of at most {MAX_BYTES >> 20} MB, got {len(content) >> 20}",
        )
    if content.count(b"[") + content.count(b"{") > MAX_LISTS:
        raise PlacesError.of(
            "too_big", f"最多 {MAX_LISTS} 个坐标；请分成几个文件", f"expected at most {MAX_LISTS} positions; split it"
        )
    try:
        # NaN is no number of JSON: as a text it is refused where a number is wanted, with the name of the place
        document = json.loads(content.decode("utf-8-sig"), parse_constant=str)
    except UnicodeDecodeError as fault:
        raise PlacesError.of(
            "encoding",
            f"GeoJSON 应为 UTF-8（{fault.reason} @ {fault.start}）",
            f"expected GeoJSON in UTF-8, got: {fault.reason} at byte {fault.start}",
        ) from None
    except (ValueError, RecursionError) as fault:
        raise PlacesError.of(
            "json", f"不是有效的 JSON：{shown(str(fault))}", f"expected JSON, got: {shown(str(fault))}"
        ) from None
    if (
        not isinstance(document, dict)
        or document.get("type") != "FeatureCollection"
        or not isinstance(document.get("features"), list)
    ):
        raise PlacesError.of(
            "geojson",
            "应为 GeoJSON 的 FeatureCollection",
            "expected a FeatureCollection of GeoJSON, got something else",
        )
    _check_crs(document.get("crs"))
    features: list[Any] = document["features"]
    if not 0 < len(features) <= MAX_CELLS:
        raise PlacesError.of(
            "cells",
            f"应有 1 到 {MAX_CELLS} 个网格，现有 {len(features)} 个",
            f"expected 1 to {MAX_CELLS} cells, got {len(features)}",
        )
    return features


def _check_crs(crs: Any) -> None:
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = str(properties.get("name", "")) if isinstance(properties, dict) else shown(crs)
    if not name.endswith(WGS84):
        raise PlacesError.of(
            "crs",
            f"坐标系应为 WGS84（EPSG:4326）或 CGCS2000 经纬度（EPSG:4490），现为 {shown(name)}；请先转换",
            f"expected WGS84 (EPSG:4326) or CGCS2000 in degrees (EPSG:4490), got {shown(name)}; convert it first",
        )


def read_cells(features: Sequence[Any], code_name: str | None, faults: list[Fault]) -> list[tuple[int, Cell, Any]]:
    """Cells, each with the number of its feature from 1 and its shape; what is wrong goes to `faults`."""
    found: list[tuple[int, Cell, Any]] = []
    first: dict[str, int] = {}
    for number, one in enumerate(features, 1):
        if not isinstance(one, dict) or one.get("type") != "Feature":
            text = Text("应为 Feature", f"expected a Feature, got {shown(one)}")
            faults.append(Fault("feature", text, number, "type"))
            continue
        code, rings, shape = None, None, None
        try:
            code = _code(one, code_name)
            if code in first:
                text = Text(
                    f"编码 {code} 与第 {first[code]} 个重复", f"code {code} is that of feature {first[code]} already"
                )
                faults.append(Fault("twice", text, number, "code"))
            first.setdefault(code, number)
        except BadValueError as bad:
            faults.append(Fault(bad.code, bad.text, number, "code"))
        try:
            rings = _rings(one)
            shape = polygon_of(rings)
        except BadValueError as bad:
            faults.append(Fault(bad.code, bad.text, number, "geometry"))
        if code is not None and rings is not None and shape is not None:
            found.append((number, Cell(code, _name(one), rings), shape))
    return found


def _properties(one: Any) -> Mapping[str, Any]:
    properties = one.get("properties") if isinstance(one, dict) else None
    return properties if isinstance(properties, dict) else {}


def _code(one: Any, code_name: str | None) -> str:
    named = {str(name).lower(): value for name, value in _properties(one).items()}
    names = CODE_NAMES if code_name is None else (code_name.lower(),)
    value = next((named[name] for name in names if named.get(name) not in (None, "")), one.get("id"))
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        value = int(value)
    if not isinstance(value, str | int) or isinstance(value, bool):
        held = ", ".join(map(str, list(_properties(one))[:12]))
        raise BadValueError(
            "missing",
            f"没有编码属性（认得 {'、'.join(names)}）；现有属性：{shown(held)}",
            f"expected a property with the code ({', '.join(names)}), the feature has {shown(held)}",
        )
    return fields.cell_code(str(value))


def _name(one: Any) -> str:
    named = {str(name).lower(): value for name, value in _properties(one).items()}
    value = next((named[name] for name in NAME_NAMES if isinstance(named.get(name), str)), "")
    return "".join(letter for letter in value if letter.isprintable())[: fields.MAX_TEXT]


def _rings(one: Any) -> tuple[Ring, ...]:
    geometry = one.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if kind == "MultiPolygon" and isinstance(coordinates, list) and len(coordinates) == 1:
        kind, coordinates = "Polygon", coordinates[0]
    if kind != "Polygon" or not isinstance(coordinates, list) or not coordinates:
        raise BadValueError(
            "geometry",
            f"单元网格应为一个闭合的 Polygon，现为 {shown(kind)}",
            f"expected one closed Polygon, got {shown(kind)}",
        )
    if sum(len(ring) for ring in coordinates if isinstance(ring, list)) > MAX_CORNERS:
        raise BadValueError("corners", f"最多 {MAX_CORNERS} 个角点", f"expected at most {MAX_CORNERS} corners")
    rings = tuple(_ring(ring) for ring in coordinates)
    for axis in (0, 1):
        along = [position[axis] for position in rings[0]]
        if max(along) - min(along) > MAX_DEGREES:
            raise BadValueError(
                "too_wide",
                f"网格跨度最大 {MAX_DEGREES:g}°，现为 {max(along) - min(along):.3f}°；跨 180° 经线的须切开",
                f"expected a cell of at most {MAX_DEGREES:g}°, got {max(along) - min(along):.3f}°; "
                "one that crosses the 180th meridian has to be cut there",
            )
    return rings


def _ring(ring: Any) -> Ring:
    if not isinstance(ring, list) or len(ring) < 4:
        raise BadValueError(
            "corners", "环至少要有 4 个点（首尾相同）", "expected a ring of at least 4 positions, the last as the first"
        )
    found = tuple(_position(one) for one in ring)
    if found[0] != found[-1]:
        raise BadValueError(
            "not_closed",
            f"环没有闭合：首点 {found[0]}，末点 {found[-1]}",
            f"expected a closed ring, it begins at {found[0]} and ends at {found[-1]}",
        )
    return found


def _position(one: Any) -> fields.Position:
    good = (
        isinstance(one, list)
        and len(one) >= 2
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in one[:2])
    )
    if not good:
        raise BadValueError(
            "position", f"坐标应为 [经度, 纬度]，现为 {shown(one)}", f"expected [longitude, latitude], got {shown(one)}"
        )
    lon, lat = one[:2]
    if not (abs(lon) <= 180 and abs(lat) <= 90) or not (math.isfinite(lon) and math.isfinite(lat)):
        raise BadValueError(
            "position",
            f"坐标应为经纬度（度），现为 {shown(one)}；是否为投影坐标（米）或经纬度写反？",
            f"expected degrees, got {shown(one)}; are they projected metres, or exchanged?",
        )
    return float(lon), float(lat)


def _changes(
    known: Mapping[str, GridCell], cells: Sequence[Cell], *, replace_all: bool
) -> tuple[list[Cell], list[Cell]]:
    changes = []
    for cell in cells:
        row = known.get(cell.code)
        if row is None or (row.name, row.rings, row.state) != (cell.name, _rings_text(cell), ACTIVE):
            changes.append(replace(cell, revision=1 if row is None else row.revision + 1))
    here = {cell.code for cell in cells}
    gone = [row for row in known.values() if replace_all and row.state == ACTIVE and row.code not in here]
    return changes, [replace(_cell(row), state=RETIRED, revision=row.revision + 1) for row in gone]


def _cell(row: GridCell) -> Cell:
    rings = tuple(tuple((lon, lat) for lon, lat in ring) for ring in json.loads(row.rings))
    return Cell(row.code, row.name, rings, row.state, row.revision)


def _rings_text(cell: Cell) -> str:
    return json.dumps(cell.rings, separators=(",", ":"))


def _warn_regions(read: Sequence[tuple[int, Cell, Any]], region: str) -> list[Fault]:
    if not region:
        return []
    return [
        Fault(
            "region",
            Text(
                f"{cell.code} 的前 6 位不是本中心的区划 {region[:6]}",
                f"the first 6 digits of {cell.code} are not this center's region {region[:6]}",
            ),
            number,
            "code",
        )
        for number, cell, _ in read
        if not cell.code.startswith(region[:6])
    ]


def _overlaps(
    read: Sequence[tuple[int, Cell, Any]], known: Mapping[str, GridCell], retired: Collection[str], faults: list[Fault]
) -> list[Fault]:
    """Pairs of cells that share more ground than rounding leaves; one of each pair is in the file.

    Where so many lie on one another that this would take minutes, it goes to `faults`.
    """
    here = {cell.code for _, cell, _ in read}
    others = [row for row in known.values() if row.state == ACTIVE and row.code not in here and row.code not in retired]
    codes = [*(cell.code for _, cell, _ in read), *(row.code for row in others)]
    shapes = [*(shape for _, _, shape in read), *(_shape(row.rings) for row in others)]
    if len(shapes) < 2 or not read:
        return []
    tree = shapely.STRtree(shapes)
    pairs: list[tuple[int, int]] = []
    for i, (number, _, shape) in enumerate(read):
        pairs += [(i, int(j)) for j in sorted(tree.query(shape, predicate="intersects")) if i < j]
        if len(pairs) > MAX_TOUCHING:
            text = Text(
                f"网格彼此重叠过多（超过 {MAX_TOUCHING} 对）；是否重复导出了同一图形？",
                f"expected cells that lie beside each other, more than {MAX_TOUCHING} pairs of them meet; "
                "is one shape there many times?",
            )
            faults.append(Fault("overlap", text, number, "geometry"))
            return []
    found = []
    for i, j in pairs:
        shared = area_m2(shapely.intersection(shapes[i], shapes[j]))
        if shared > max(OVERLAP_M2, OVERLAP * min(area_m2(shapes[i]), area_m2(shapes[j]))):
            text = Text(
                f"{codes[i]} 与 {codes[j]} 重叠 {shared:.0f} m²",
                f"{codes[i]} and {codes[j]} overlap by {shared:.0f} m²",
            )
            found.append(Fault("overlap", text, read[i][0], "geometry"))
    return found


def _apply(session: Session, cells: Sequence[Cell], known: Mapping[str, GridCell], author: Author) -> None:
    rows = []
    for cell in cells:
        shape = shapely.Polygon(cell.rings[0], cell.rings[1:])
        west, south, east, north = map(float, shape.bounds)
        rows.append(
            {
                "code": cell.code,
                "revision": cell.revision,
                "name": cell.name,
                "rings": _rings_text(cell),
                "west": west,
                "south": south,
                "east": east,
                "north": north,
                "area_m2": area_m2(shape),
                "state": cell.state,
                "changed_ms": author.at_ms,
            }
        )
    steps = [
        Step(cell.code, cell.revision, _action(cell, known), _texts_of(known.get(cell.code)), _texts(cell))
        for cell in cells
    ]
    write(session, GridCell.__table__, [row for row in rows if row["code"] not in known])
    rewrite(session, GridCell.__table__, [row for row in rows if row["code"] in known], "code")
    session.expire_all()
    keep(session, "cell", steps, author)


def _action(cell: Cell, known: Mapping[str, GridCell]) -> str:
    if cell.state == RETIRED:
        return "retired"
    return "changed" if cell.code in known else "added"


def _texts(cell: Cell) -> dict[str, str]:
    return {"code": cell.code, "name": cell.name, "rings": _rings_text(cell), "state": cell.state}


def _texts_of(row: GridCell | None) -> dict[str, str] | None:
    return None if row is None else {"code": row.code, "name": row.name, "rings": row.rings, "state": row.state}
