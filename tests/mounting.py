"""Where to put a camera: the table and the drawings of docs/guide/mounting.*, `python -m tests.mounting` writes them.

Distances come from the pinhole camera of `tests/pinhole.py` and are held against the agent's own estimates by
`tests/agent/vision/test_mounting.py`. Limits are published ones of SenseFoundry's algorithms: a person of 50 px in
1080p; an item of 40 × 66 px, best in 1333 × 800. The latter as a share of the picture, as the agent measures areas, is
what the set-up page asks for.
"""

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from tests.pinhole import Pinhole
from tests.services import ROOT

PICTURE: Final = (1920, 1080)
PERSON: Final = (0.5, 1.7, 0.0, 50 / 1080)
"""Width and height, m; the least width and height, as shares of the picture."""
ITEM: Final = (0.5, 0.83, 40 / 1333, 66 / 800)
"""Three crates on one another, a board on the pavement."""
LEAST_ITEM: Final = (0.5, 0.83, 40 / 1920, 66 / 1080)
"""The same in pixels of 1080p: for zones with a smaller `min_area`."""
LENSES: Final = ((90, "2.8"), (70, "4"), (54, "6"), (41, "8"), (28, "12"))
"""Angle across, degrees, and about which lens has it before a sensor of 1/2.8 inch (5.6 mm wide), mm."""
HEIGHTS: Final = (3.0, 4.0, 5.0, 6.0)
USUAL_M: Final = 5.0
BEGIN, END = "<!-- tests.mounting: {} -->", "<!-- end -->"


def camera(height_m: float, lens_deg: float, at_m: float) -> Pinhole:
    """One that is pointed at the ground so far away."""
    pitch = float(np.degrees(np.arctan2(height_m, at_m)))
    return Pinhole(height_m, pitch, focal=0.5 / float(np.tan(np.radians(lens_deg / 2))))


def shares(view: Pinhole, at_m: float, width_m: float, height_m: float) -> tuple[float, float]:
    """Width and height in the picture of what stands upright on the street, straight ahead."""
    half = width_m / 2
    left, right, top = view.see([(-half, at_m, 0), (half, at_m, 0), (0, at_m, height_m)])
    return float(right[0] - left[0]), float(left[1] - top[1])


def farthest_m(thing: tuple[float, float, float, float], height_m: float, lens_deg: float) -> int:
    """Up to where a thing is large enough, whole metres; nearer than the camera is high it is seen from above."""
    width_m, tall_m, *least = thing
    good = [
        at
        for at in range(int(height_m), 200)
        if all(np.array(shares(camera(height_m, lens_deg, at), at, width_m, tall_m)) >= least)
    ]
    return max(good, default=0)


def hidden_m(height_m: float, at_m: float) -> float:
    """Length of ground behind a person that nobody sees."""
    return at_m * PERSON[1] / (height_m - PERSON[1])


def tables() -> dict[str, list[str]]:
    """Rows of both guides, by name."""
    far = [[farthest_m(thing, USUAL_M, deg) for thing in (ITEM, LEAST_ITEM, PERSON)] for deg, _ in LENSES]
    lenses = [
        f"| {deg}° | {lens} mm | {' | '.join(f'{at} m' if at else '—' for at in row)} |"
        for (deg, lens), row in zip(LENSES, far, strict=True)
    ]
    heights = [f"| {h:g} m | {hidden_m(h, 8):.0f} m | {hidden_m(h, 15):.0f} m |" for h in HEIGHTS]
    return {"lenses": lenses, "heights": heights}


def filled(text: str) -> str:
    """A guide with the rows as they are computed."""
    for name, rows in tables().items():
        mark = BEGIN.format(name)
        text = re.sub(
            rf"(?s){re.escape(mark)}\n((?:[^\n]*\n){{2}}).*?{END}",
            lambda found, mark=mark, rows=rows: "\n".join([mark, found[1].rstrip("\n"), *rows, END]),
            text,
        )
    return text


class Sheet:
    """One view of the same street as SVG, 320 × 180; turned to the shops at the left by so many degrees."""

    def __init__(self, view: Pinhole, left_deg: float) -> None:
        self.view, self.parts, turn = view, [], np.radians(left_deg)
        self.turn = np.array([(np.cos(turn), -np.sin(turn), 0), (np.sin(turn), np.cos(turn), 0), (0, 0, 1)])

    def at(self, points: Iterable[tuple[float, float, float]]) -> np.ndarray:
        """Pixels of street points."""
        return self.view.see(np.array(list(points)) @ self.turn) * (320, 180)

    def area(self, style: str, *areas: Iterable[tuple[float, float, float]]) -> None:
        """Fill what lies between street points, in each of some areas."""
        text = ""
        for points in areas:
            at = np.rint(self.at(points)).astype(int)
            sides = ",".join(f"{x},{y}" for x, y in np.diff(at, axis=0)).replace(",-", "-")
            text += f"M{at[0, 0]},{at[0, 1]}l{sides}z"
        self.parts.append(f'<path d="{text}" {style}/>')

    def ground(self, left: float, right: float, near: float, far: float, style: str) -> None:
        """Fill a rectangle of the ground."""
        self.area(style, [(left, near, 0), (right, near, 0), (right, far, 0), (left, far, 0)])

    def wall(self, style: str, low: float, high: float, *parts: tuple[float, float]) -> None:
        """Fill parts of the shops' front, from how near to how far."""
        around = ((0, low), (1, low), (1, high), (0, high))
        self.area(style, *([(-3, part[far], height) for far, height in around] for part in parts))

    def crates(self, near: float) -> None:
        """A stack before a shop."""
        left, right, far, tall = -2.9, -2.1, near + 0.8, 0.9
        self.area('fill="#8a5a22"', [(right, near, 0), (right, far, 0), (right, far, tall), (right, near, tall)])
        self.area('fill="#d69a4c"', [(left, near, tall), (right, near, tall), (right, far, tall), (left, far, tall)])
        self.area('fill="#b97a35"', [(left, near, 0), (right, near, 0), (right, near, tall), (left, near, tall)])

    def person(self, x: float, y: float, *, said: bool = False) -> None:
        """Somebody, perhaps with how many pixels of 1080 they are tall."""
        (foot, neck, head, top, side) = self.at([(x, y, z) for z in (0, 1.4, 1.58, 1.7)] + [(x + 0.2, y, 1.2)])
        wide = max(1.0, 2 * float(side[0] - neck[0]))
        self.parts.append(
            f'<path d="M{foot[0]:.0f},{foot[1]:.0f}L{neck[0]:.0f},{neck[1]:.0f}" class="p" '
            f'stroke-width="{wide:.1f}"/>'
            f'<circle cx="{head[0]:.0f}" cy="{head[1]:.0f}" r="{wide * 0.32:.1f}" fill="#c98"/>'
        )
        if said:
            tall = round(float(foot[1] - top[1]) * 6 / 10) * 10
            self.parts.append(f'<text x="{foot[0] + wide:.0f}" y="{foot[1]:.0f}" class="n">{tall} px</text>')


def street(view: Pinhole, left_deg: float = 22, zone: tuple[float, float] = (6, 14)) -> Sheet:
    """A pavement along shops, goods in the zone, somebody near them."""
    sheet = Sheet(view, left_deg)
    near, high = (-4, 3.4) if view.pitch_deg > 45 else (0.6, 8)
    horizon = float(view.see([(0, 1e6, 0)])[0, 1]) * 180
    sheet.parts.append('<path d="M0,0h320v180h-320z" fill="#dfe9f2"/>')
    sheet.parts.append(f'<path d="M0,{max(horizon, 0):.0f}h320v200h-320z" fill="#8d9196"/>')
    sheet.ground(-3, 1.2, near, 200, 'fill="#d0cdc6"')
    sheet.wall('fill="#cbb89c"', 0, high, (near, 200))
    sheet.wall('fill="#6f6a64"', 0, 2.3, *((begin, begin + 3) for begin in range(1, 45, 5)))
    for begin, colour in ((1, "#376"), (6, "#a33"), (11, "#357")):
        sheet.wall(f'fill="{colour}"', 2.5, 3.1, *((shop, shop + 4) for shop in range(begin, 45, 15)))
    sheet.ground(-3, -1.2, *zone, 'fill="#1a73e8" fill-opacity=".3" stroke="#1a73e8"')
    sheet.crates(zone[0] + 4)
    sheet.crates(zone[0] + 2)
    sheet.person(0.4, zone[0] + 5, said=True)
    sheet.person(-1.6, zone[0] + 1)
    return sheet


def views() -> list[tuple[bool, str, str, list[str]]]:
    """Good and bad: whether, what, in Chinese and English, and the drawing."""
    usual = 0.5 / float(np.tan(np.radians(35)))
    good = street(Pinhole(5, 21, focal=usual))
    low = street(Pinhole(2.2, 8, focal=usual))
    low.person(-1.4, 4.2)
    low.person(-0.3, 4.8)
    steep = street(Pinhole(6, 62, focal=usual), 14, (1.5, 6))
    far = street(Pinhole(5, 12, focal=0.42), 6, (24, 34))
    light = street(Pinhole(4, 2, focal=usual))
    light.parts.append('<path d="M0,0h320v180h-320z" fill="#000" fill-opacity=".6"/>')
    light.parts.append('<circle cx="215" cy="52" r="130" fill="url(#sun)"/>')
    hidden = street(Pinhole(5, 21, focal=usual))
    hidden.parts.append(
        '<g fill="#3d6b35"><circle cx="168" cy="72" r="42"/><circle cx="116" cy="96" r="40"/><circle cx="190" cy="104"'
        ' r="30"/></g>'
    )
    return [
        (True, "好：5 米高，对着店前区，少拍天空", "Good: 5 m up, at the frontage, little sky", good.parts),
        (False, "太低：路人挡住货物", "Too low: people hide the goods", low.parts),
        (False, "太陡：只见头顶，看不了几米", "Too steep: heads only, a few metres", steep.parts),
        (False, "太远、太广：东西太小", "Too far, too wide: things are tiny", far.parts),
        (False, "逆光：天空占画面，店前发黑", "Against the light: sky, dark shops", light.parts),
        (False, "被挡：树叶、招牌遮住区域", "Hidden: leaves or a sign before it", hidden.parts),
    ]


def drawn_views() -> str:
    """Six views of one street."""
    cells = []
    for at, (good, zh, en, parts) in enumerate(views()):
        x, y, colour = 10 + at % 3 * 330, 10 + at // 3 * 226, "#188038" if good else "#c5221f"
        cells.append(
            f'<svg x="{x}" y="{y}" width="320" height="180" viewBox="0 0 320 180">{"".join(parts)}</svg>'
            f'<path d="M{x},{y}h320v180h-320z" fill="none" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x}" y="{y + 198}" fill="{colour}">{"✓" if good else "✗"} {zh}</text>'
            f'<text x="{x}" y="{y + 213}" class="e">{en}</text>'
        )
    return _svg(
        1000,
        462,
        '<radialGradient id="sun"><stop stop-color="#fff"/><stop offset=".3" stop-color="#fff" '
        'stop-opacity=".8"/><stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>',
        cells,
    )


def drawn_side() -> str:
    """A mast from the side: height, the ray to the middle of the zone, what a person hides."""
    metre, base = 34, 206
    up = base - USUAL_M * metre

    def x(at_m: float) -> float:
        return 60 + at_m * metre

    end = 8 + hidden_m(USUAL_M, 8)
    cells = [
        f'<path d="M0,{base}h760" stroke="#777" stroke-width="2"/>',
        f'<path d="M{x(0)},{base}V{up}" stroke="#555" stroke-width="5"/>',
        f'<path d="M{x(0)},{up - 6}l26,11l-4,11l-26,-11z" fill="#333"/>',
        f'<path d="M{x(5)},{base - 6}h{10 * metre}v12h{-10 * metre}z" fill="#1a73e8" fill-opacity=".35"/>',
        f'<path d="M{x(8)},{base - 1.7 * metre}L{x(end):.0f},{base}H{x(8)}z" fill="#c5221f" fill-opacity=".2"/>',
        f'<path d="M{x(10)},{base}L{x(0)},{up}L{x(end):.0f},{base}" class="r"/>',
        f'<path d="M{x(8)},{base}v{-1.35 * metre:.0f}" class="p" stroke-width="12"/>',
        f'<circle cx="{x(8)}" cy="{base - 1.58 * metre:.0f}" r="6" fill="#c98"/>',
        f'<path d="M{x(9.6):.0f},{base}h22v-28h-22z" fill="#b97a35"/>',
    ]
    words = (
        (x(0) - 52, base - 90, "4–6 m"),
        (x(0) + 34, up + 4, "俯角 15–30° · tilt"),
        (x(5), base + 24, "店前区：离杆 5 米以外 · zone: from 5 m on"),
        (
            x(8.6),
            base - 66,
            f"人身后 {hidden_m(USUAL_M, 8):.0f} 米看不见 · {hidden_m(USUAL_M, 8):.0f} m behind a person unseen",
        ),
        (x(0) + 8, base + 24, "杆下只见头顶 · heads only"),
    )
    cells += [f'<text x="{left:.0f}" y="{top:.0f}" class="e">{text}</text>' for left, top, text in words]
    return _svg(760, 240, "", cells)


def _svg(width: int, height: int, defs: str, cells: list[str]) -> str:
    style = (
        "text{font:14px sans-serif}.e{font-size:12px;fill:#333}.n{font-size:11px;fill:#000;font-weight:700}"
        ".r{fill:none;stroke:#c5221f;stroke-dasharray:4}.p{stroke:#345;stroke-linecap:round}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{style}</style>'
        f"<defs>{defs}</defs>"
        f'<path d="M0,0h{width}v{height}h-{width}z" fill="#fff"/>\n' + "\n".join(cells) + "\n</svg>\n"
    )


GUIDES: Final = tuple(ROOT / f"docs/guide/mounting.{language}.md" for language in ("zh-CN", "en"))
DRAWINGS: Final = {
    ROOT / "docs/pictures/mounting-views.svg": drawn_views,
    ROOT / "docs/pictures/mounting-side.svg": drawn_side,
}

if __name__ == "__main__":
    for path, draw in DRAWINGS.items():
        path.write_text(draw(), "utf-8")
    for path in GUIDES:
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
