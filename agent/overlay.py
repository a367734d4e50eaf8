"""The overlay: a frame with everything drawn in that the agent makes of it, readable at a glance and when paused.

Left the picture with zones, items, people and their tracks; right a panel with the still scene, one paragraph for each
zone, and the last messages; above both a line with camera, time and state. Each state has a word and a colour, so that
no legend is needed.

Nobody can be recognised in it: the picture and the still scene are masked as evidence is, before anything is drawn.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from numpy.typing import NDArray

from agent import drawing
from agent.camera.frame import Frame
from agent.drawing import BLACK, BOLD, GREEN, GREY, ORANGE, SKY, VERMILLION, WHITE, YELLOW, Area, Colour, Labels, Rgb
from agent.evidence.masking import Masker, hide_outside
from agent.snapshot import Mark, MarkState, Snapshot, StillLook, Tally, ZoneLook
from agent.vision.still import WINDOW_S
from protocol.geometry import Box, contains
from protocol.messages import IncidentEvent

PICTURE_PX: Final = (1280, 720)
"""The picture is scaled to fit into this, so that the letters have one size on all clips."""
PANEL_PX: Final = 360
HEADER_PX: Final = 52
MIN_HEIGHT_PX: Final = 480
"""Of the panel, beside pictures that are low."""
MARGIN_PX: Final = 14
TEXT_PX: Final = 18
SMALL_PX: Final = 16
TITLE_PX: Final = 22
LINE_PX: Final = 25

GROUND: Final = (24, 27, 32)
PALE: Final = (190, 196, 204)
TRAIL_S: Final = 5.0
EVENTS: Final = 5
STATES: Final[dict[MarkState, tuple[Colour, bool]]] = {
    "new": (YELLOW, True),
    "dwell": (ORANGE, False),
    "incident": (VERMILLION, False),
    "clearing": (GREEN, True),
    "cleared": (GREEN, False),
    "not_seen": (GREY, True),
}
"""Colour, and whether the outline is dashed: it is where nothing is certain."""

RUNNING: Final = ("dwell", "clearing")
"""States in which something fills up to its limit."""


def clock(seconds: float) -> str:
    """Write a time span as minutes and seconds, with hours where there are any."""
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def mark_text(mark: Mark) -> str:
    """Say what is the matter at a place."""
    elapsed, limit = clock(mark.elapsed_s), clock(mark.limit_s)
    text = {
        "new": f"new {elapsed}",
        "dwell": f"dwell {elapsed} / {limit}",
        "incident": f"INCIDENT {elapsed}, limit {limit}",
        "clearing": f"seen clear {elapsed} / {limit}",
        "cleared": f"CLEARED after {elapsed}",
        "not_seen": f"NOT SEEN {elapsed}, incident open",
    }[mark.state]
    return f"{mark.name}: {text}" if mark.name else text


def tally_text(tally: Tally) -> str:
    """Say how many people there are, and how many may be."""
    return f"{'at least ' if tally.lower_bound else ''}{tally.count} people, {tally.limit}"


@dataclass
class Overlay:
    """Draws one camera's frames in order.

    Args:
        start_s: of the clip, seconds since the epoch.
    """

    masker: Masker
    timezone: ZoneInfo
    start_s: float
    _events: deque[tuple[str, str, Colour]] = field(default_factory=lambda: deque(maxlen=EVENTS), init=False)
    _trails: dict[int, deque[tuple[float, float, float]]] = field(default_factory=dict, init=False)
    _recent: deque[tuple[float, NDArray[np.float32]]] = field(default_factory=deque, init=False)

    def tell(self, event: IncidentEvent) -> None:
        """Note a message, to be listed in the panel."""
        kind = event.type.rpartition(".")[2]
        colour = {"opened": VERMILLION, "cleared": GREEN}.get(kind, GREY)
        self._events.append((self._local(event.time.timestamp()), f"{event.data.zone}: {kind}", colour))

    def draw(self, frame: Frame, now: Snapshot) -> Rgb:
        """Draw a frame; returns a picture `(h, w, 3)`, both even, the same size for all frames of one size."""
        self._follow(now)
        masked = self.masker.mask(frame.rgb(), now.heads, _place_that_matters(now))
        picture = hide_outside(masked, now.looked_at)
        shown = _fit(picture, PICTURE_PX)
        height, width = max(shown.shape[0], MIN_HEIGHT_PX), shown.shape[1]
        canvas = np.full((HEADER_PX + height, width + PANEL_PX, 3), GROUND, np.uint8)
        view = canvas[HEADER_PX : HEADER_PX + shown.shape[0], :width]
        view[:] = shown
        self._draw_picture(view, now)
        self._draw_header(canvas[:HEADER_PX], now)
        self._draw_panel(canvas[HEADER_PX:, width:], now)
        return canvas

    def _follow(self, now: Snapshot) -> None:
        """Remember where people were: for their trails, and because they may still be on the still scene."""
        self._recent.append((now.time_s, now.heads))
        while now.time_s - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        for (x, y, w, h), track in zip(now.persons, now.ids, strict=True):
            if track:
                self._trails.setdefault(int(track), deque()).append((now.time_s, float(x + w / 2), float(y + h)))
        for track, trail in list(self._trails.items()):
            while trail and now.time_s - trail[0][0] > TRAIL_S:
                trail.popleft()
            if not trail:
                del self._trails[track]

    def _draw_picture(self, view: Rgb, now: Snapshot) -> None:
        labels = Labels(view, TEXT_PX)
        for zone in now.zones:
            self._outline_zone(view, zone)
        self._draw_people(view, now)
        marks = [mark for zone in now.zones for mark in zone.marks]
        areas = [_area(mark.box, view.shape) for mark in marks]
        for mark, area in zip(marks, areas, strict=True):
            _draw_mark(view, mark, area)
            labels.keep_free(area)
        for mark, area in zip(marks, areas, strict=True):
            labels.set(mark_text(mark), area, STATES[mark.state][0])
        for zone in now.zones:
            x, y, right = _top(zone, view.shape)
            labels.set(self._zone_text(zone), (x, y, right, y), _zone_colour(zone))

    def _outline_zone(self, view: Rgb, zone: ZoneLook) -> None:
        drawing.outline(view, _corners(zone, view.shape), _zone_colour(zone), 2)

    def _zone_text(self, zone: ZoneLook) -> str:
        if zone.note:
            return f"{zone.id}: {zone.note}"
        if zone.tally is None:
            return zone.id
        crowd = zone.tally
        if crowd.incident:
            return f"{zone.id}: INCIDENT {clock(crowd.over_s)}, {tally_text(crowd)}"
        over = f", over {clock(crowd.over_s)} / {clock(crowd.dwell_s)}" if crowd.over else ""
        return f"{zone.id}: {tally_text(crowd)}{over}"

    def _draw_people(self, view: Rgb, now: Snapshot) -> None:
        height, width = view.shape[:2]
        counted = _counted(now)
        areas = [_area((float(x), float(y), float(w), float(h)), view.shape) for x, y, w, h in now.persons]
        for area, inside in zip(areas, counted, strict=True):
            cv2.rectangle(view, area[:2], area[2:], SKY if inside else PALE, 1, cv2.LINE_AA)
        for trail in self._trails.values():
            points = np.array([(x * width, y * height) for _, x, y in trail]).round().astype(np.int32)
            cv2.polylines(view, [points], False, BLACK, 4, cv2.LINE_AA)
            cv2.polylines(view, [points], False, SKY, 2, cv2.LINE_AA)
        # the nearest last, as they stand before the others
        for n in sorted(range(len(areas)), key=lambda n: areas[n][3]):
            area, track, colour = areas[n], int(now.ids[n]), SKY if counted[n] else PALE
            feet = ((area[0] + area[2]) // 2, area[3])
            cv2.circle(view, feet, 7, BLACK, -1, cv2.LINE_AA)
            cv2.circle(view, feet, 5, colour, -1 if counted[n] else 2, cv2.LINE_AA)
            if track:
                name = str(track)
                left = feet[0] + 9
                cv2.rectangle(
                    view, (left, feet[1] - 15), (left + drawing.text_width(name, 14) + 5, feet[1] + 3), BLACK, -1
                )
                drawing.write(view, name, left + 3, feet[1], 14, colour)

    def _draw_header(self, strip: Rgb, now: Snapshot) -> None:
        strip[:] = BLACK
        x, base = MARGIN_PX, 34
        drawing.write(strip, now.camera, x, base, TITLE_PX, WHITE, BOLD)
        x += drawing.text_width(now.camera, TITLE_PX, BOLD) + 18
        state = now.state.upper().replace("_", " ")
        colour = {"live": GREEN, "learning": SKY}.get(now.state, YELLOW)
        wide = drawing.text_width(state, TEXT_PX, BOLD) + 16
        cv2.rectangle(strip, (x, 12), (x + wide, 41), colour, -1)
        drawing.write(strip, state, x + 8, 33, TEXT_PX, drawing.ink(colour), BOLD)
        x += wide + 18
        when = datetime.fromtimestamp(now.time_s, self.timezone).strftime("%Y-%m-%d %H:%M:%S")
        badge = {0: "no open incident", 1: "1 OPEN INCIDENT"}.get(now.incidents, f"{now.incidents} OPEN INCIDENTS")
        colour = VERMILLION if now.incidents else (60, 66, 74)
        wide = drawing.text_width(badge, TEXT_PX, BOLD) + 16
        left = strip.shape[1] - MARGIN_PX - wide
        cv2.rectangle(strip, (left, 12), (left + wide, 41), colour, -1)
        drawing.write(strip, badge, left + 8, 33, TEXT_PX, WHITE, BOLD)
        line = f"{when}   clip {clock(now.time_s - self.start_s)}"
        drawing.write(strip, drawing.shorten(line, left - x - 12, TEXT_PX), x, 33, TEXT_PX, PALE)

    def _draw_panel(self, panel: Rgb, now: Snapshot) -> None:
        page = _Page(panel)
        page.title("still scene")
        self._draw_still(page, now)
        for zone in now.zones:
            if not page.room(2):
                page.line("more zones are not shown", PALE)
                break
            self._describe(page, zone)
        if self._events and page.room(2):
            page.title("messages")
            for when, text, colour in reversed(self._events):
                page.line(f"{when[-8:]}  {text}", PALE, swatch=colour)

    def _draw_still(self, page: "_Page", now: Snapshot) -> None:
        if now.still is None:
            page.line("learning what the clear place looks like", PALE)
            page.gap()
            return
        persons = np.concatenate([boxes for _, boxes in self._recent])
        inset = self._still_picture(now.still, persons, now.looked_at, page.width, page.left_px // 2)
        for zone in now.zones:
            drawing.outline(inset, _corners(zone, inset.shape), WHITE, 1)
            for mark in zone.marks:
                _draw_mark(inset, mark, _area(mark.box, inset.shape))
        page.picture(inset)
        page.key((("stands there", ORANGE), ("not seen", GREY)))

    def _still_picture(
        self, still: StillLook, persons: NDArray[np.float32], looked_at: Box | None, width: int, height: int
    ) -> Rgb:
        grey = np.repeat(still.luma[:, :, None], 3, axis=2)
        masked = hide_outside(self.masker.mask(grey, persons, None), looked_at)
        drawing.tint(masked, still.hidden, GREY, 0.55)
        drawing.tint(masked, still.occupied, ORANGE, 0.45)
        return _fit(masked, (width, max(2, height)))

    def _describe(self, page: "_Page", zone: ZoneLook) -> None:
        page.title(f"{zone.id}  {zone.shop or ''}".strip())
        if zone.note:
            page.line(zone.note, PALE)
        elif zone.tally is not None:
            crowd = zone.tally
            page.line(tally_text(crowd), WHITE, swatch=_zone_colour(zone))
            if crowd.incident:
                page.line(f"INCIDENT {clock(crowd.over_s)}, limit {clock(crowd.dwell_s)}", WHITE)
            elif crowd.over:
                page.line(f"over {clock(crowd.over_s)} / {clock(crowd.dwell_s)}", WHITE)
                page.bar(crowd.over_s / crowd.dwell_s, ORANGE)
        elif not zone.marks:
            page.line("no item", PALE)
        for mark in zone.marks:
            if not page.room(1):
                return
            page.line(mark_text(mark), WHITE, swatch=STATES[mark.state][0])
            if mark.state in RUNNING and page.room(1):
                page.bar(mark.elapsed_s / max(mark.limit_s, 1e-6), STATES[mark.state][0])
        page.gap()

    def _local(self, at_s: float) -> str:
        return datetime.fromtimestamp(at_s, self.timezone).strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class _Page:
    """Sets lines one below the other; what finds no room is left out."""

    panel: Rgb
    _y: int = MARGIN_PX

    @property
    def width(self) -> int:
        """Of a line."""
        return int(self.panel.shape[1]) - 2 * MARGIN_PX

    @property
    def left_px(self) -> int:
        """Height that is free."""
        return max(0, int(self.panel.shape[0]) - self._y)

    def room(self, lines: int) -> bool:
        """Whether so many lines find room."""
        return self.left_px >= lines * LINE_PX

    def title(self, text: str) -> None:
        """Set a heading."""
        if self.room(1):
            text = drawing.shorten(text, self.width, TEXT_PX, BOLD)
            drawing.write(self.panel, text, MARGIN_PX, self._y + 18, TEXT_PX, WHITE, BOLD)
            self._y += LINE_PX + 2

    def line(self, text: str, colour: Colour, swatch: Colour | None = None) -> None:
        """Set a line, with a square of a colour before it where one is given."""
        if not self.room(1):
            return
        x = MARGIN_PX
        if swatch is not None:
            cv2.rectangle(self.panel, (x, self._y + 4), (x + 12, self._y + 16), swatch, -1)
            x += 22
        text = drawing.shorten(text, self.width - (x - MARGIN_PX), SMALL_PX)
        drawing.write(self.panel, text, x, self._y + 16, SMALL_PX, colour)
        self._y += LINE_PX

    def key(self, entries: tuple[tuple[str, Colour], ...]) -> None:
        """Set what colours mean, side by side."""
        if not self.room(1):
            return
        x = MARGIN_PX
        for text, colour in entries:
            cv2.rectangle(self.panel, (x, self._y), (x + 12, self._y + 12), colour, -1)
            drawing.write(self.panel, text, x + 20, self._y + 12, SMALL_PX, PALE)
            x += 40 + drawing.text_width(text, SMALL_PX)
        self._y += LINE_PX + 8

    def bar(self, share: float, colour: Colour) -> None:
        """Set a bar that fills up."""
        drawing.bar(self.panel, (MARGIN_PX, self._y, MARGIN_PX + self.width, self._y + 6), share, colour)
        self._y += 14

    def picture(self, rgb: Rgb) -> None:
        """Set a picture."""
        height, width = rgb.shape[:2]
        if height <= self.left_px:
            self.panel[self._y : self._y + height, MARGIN_PX : MARGIN_PX + width] = rgb
            self._y += height + 10

    def gap(self) -> None:
        """Leave some room."""
        self._y += 8


def _place_that_matters(now: Snapshot) -> Box | None:
    """What stays sharp without a face model, as in evidence; a crowd's place is full of faces and never does."""
    marks = [mark for zone in now.zones if zone.kind == "frontage" for mark in zone.marks]
    first = max(marks, key=lambda mark: (mark.state == "incident", mark.elapsed_s), default=None)
    return None if first is None else first.box


def _fit(rgb: Rgb, room: tuple[int, int]) -> Rgb:
    """Scale a picture so that it just fits into a width and a height; its sides become even."""
    scale = min(room[0] / rgb.shape[1], room[1] / rgb.shape[0])
    size = (max(2, int(rgb.shape[1] * scale) // 2 * 2), max(2, int(rgb.shape[0] * scale) // 2 * 2))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)


def _area(box: Box, shape: tuple[int, ...]) -> Area:
    height, width = shape[:2]
    x, y, w, h = box
    return (
        max(0, round(x * width)),
        max(0, round(y * height)),
        min(width - 1, round((x + w) * width)),
        min(height - 1, round((y + h) * height)),
    )


def _corners(zone: ZoneLook, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Corners `(n, 2)` in pixels, so far inside that a line along the picture's edge is seen."""
    height, width = shape[:2]
    corners = np.round(np.asarray(zone.polygon) * (width, height)).astype(np.int32)
    return np.clip(corners, 1, np.maximum(1, np.array([width - 2, height - 2], np.int32)))


def _top(zone: ZoneLook, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The zone's highest corner, the leftmost of those, and its right end: x, y, right."""
    corners = _corners(zone, shape)
    x, y = min(((int(x), int(y)) for x, y in corners), key=lambda corner: (corner[1], corner[0]))
    return x, y, int(corners[:, 0].max())


def _zone_colour(zone: ZoneLook) -> Colour:
    if zone.tally is None:
        return WHITE if zone.kind == "frontage" else SKY
    if zone.tally.incident:
        return VERMILLION
    return ORANGE if zone.tally.over else SKY


def _draw_mark(view: Rgb, mark: Mark, area: Area) -> None:
    colour, dashed = STATES[mark.state]
    left, top, right, bottom = area
    inside = view[top:bottom, left:right]
    inside[:] = (inside * 0.9 + np.array(colour) * 0.1).astype(np.uint8)
    width = 4 if mark.state == "incident" else 2
    drawing.outline(
        view, drawing.box_corners(area), colour, max(1, width if view.shape[1] > 500 else width // 2), dashed=dashed
    )
    if mark.state in RUNNING and view.shape[1] > 500:
        drawing.bar(view, (left, max(top, bottom - 6), right, bottom), mark.elapsed_s / max(mark.limit_s, 1e-6), colour)


def _counted(now: Snapshot) -> NDArray[np.bool_]:
    """Who, shape `(n,)`, has their feet in a zone that counts people."""
    feet = np.stack([now.persons[:, 0] + now.persons[:, 2] / 2, now.persons[:, 1] + now.persons[:, 3]], axis=1)
    feet = np.clip(feet.astype(np.float64), 0, 1 - 1e-6)
    inside = np.zeros(len(feet), np.bool_)
    for zone in now.zones:
        if zone.tally is not None:
            inside |= contains(zone.polygon, feet)
    return inside
