"""The check picture of a ground plane: a grid of 1 m on the street, the rectangle, zones and their areas.

An installer sees at a glance whether the plane is right: grid lines must run along kerbs and joints, squares must look
square, and a person or a car must take as many of them as on the street.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.errors import CameraError
from agent.camera.reader import first_picture
from agent.camera.source import Source
from agent.drawing import (
    BLACK,
    GREEN,
    ORANGE,
    REGULAR,
    SKY,
    VERMILLION,
    WHITE,
    YELLOW,
    Labels,
    Rgb,
    outline,
    text_width,
    write,
)
from agent.settings import BoxConfig
from protocol.documents import SettingsError
from protocol.plane import Plane, PlaneError
from protocol.settings import Camera, GroundRectangle, Zone

Array = NDArray[np.float64]

WIDTH_PX: Final = 1280
"""The picture is shown at this width, so that letters and lines look alike for all cameras."""
STEP_M: Final = 0.25
"""Grid lines are drawn in pieces of this length, so that they end where they get too dense."""
DENSEST_PX: Final = 7.0
"""Where lines come nearer to each other than this, there are none; strong ones, twice this."""
LABELS_PX: Final = 70.0
"""Labels of metres are not nearer to each other than this."""
MAJOR: Final = 5
"""Each fifth line is a strong one."""
REACH_M: Final = 60.0
"""The grid goes so far from the rectangle."""
LETTER_PX: Final = 18
DOT_PX: Final = 11
IMAGES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
WRITTEN: Final = (".png", ".jpg", ".jpeg")


def ground_of(camera: Camera) -> GroundRectangle:
    """Give a camera's rectangle; raises SettingsError where it has none."""
    if camera.plane is None:
        raise SettingsError(
            f"camera {camera.id}: expected [camera.plane] with points, width_m and depth_m in the settings, found none"
        )
    return camera.plane


def picture_of(camera: Camera, config: BoxConfig, path: Path | None) -> Rgb:
    """Take a picture of a camera, shape `(h, w, 3)`, masks burnt in; raises CameraError or SettingsError.

    Args:
        camera: its source is asked where there is no path.
        config: for paths and credentials.
        path: an image, or a video of which the first picture is taken.
    """
    if path is None:
        return first_picture(Source.from_camera(camera, config)).rgb()
    if path.suffix.lower() not in IMAGES:
        if not path.is_file():
            raise CameraError(f"--picture {path}: expected an image or a video, found none; check the path")
        return first_picture(Source.of_clip(path, camera)).rgb()
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as fault:
        raise CameraError(f"--picture {path}: expected an image that can be read: {fault.strerror}") from None
    bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if bgr is None:
        raise CameraError(f"--picture {path}: expected an image ({', '.join(IMAGES)}), it cannot be read as one")
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    for mask in camera.mask:
        cv2.fillPoly(rgb, [_pixels(np.array(mask.polygon), rgb)], BLACK)
    return rgb


def write_picture(rgb: Rgb, path: Path) -> None:
    """Write a PNG or JPEG; raises SettingsError."""
    if path.suffix.lower() not in WRITTEN:
        raise SettingsError(f"--out {path}: expected a name that ends in {', '.join(WRITTEN)}")
    _, content = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    try:
        path.write_bytes(content.tobytes())
    except OSError as fault:
        raise SettingsError(f"--out {path}: expected a file that can be written: {fault.strerror}") from None


def zone_text(zone: Zone, plane: Plane) -> str:
    """Say how much ground a zone has, and how many people that bears."""
    try:
        area_m2 = plane.area_m2(zone.polygon)
    except PlaneError:
        return "reaches above the horizon, no area"
    text = f"{area_m2:.1f} m²"
    if zone.kind == "gathering" and zone.max_density is not None:
        text += f", at {zone.max_density:g} per m² that bears {int(zone.max_density * area_m2 + 1e-6)} people"
    return text


def draw(rgb: Rgb, camera: Camera) -> Rgb:
    """Draw the grid, the rectangle and the zones of a camera.

    Args:
        rgb: shape `(h, w, 3)`; left as it is.
        camera: its plane is set.

    Returns:
        Another picture, WIDTH_PX wide.
    """
    rectangle = ground_of(camera)
    plane = rectangle.plane()
    height = round(rgb.shape[0] * WIDTH_PX / rgb.shape[1])
    way = cv2.INTER_AREA if rgb.shape[1] > WIDTH_PX else cv2.INTER_CUBIC
    shown = np.asarray(cv2.resize(rgb, (WIDTH_PX, height), interpolation=way), np.uint8)
    grid = shown.copy()
    _draw_grid(grid, plane)
    shown = np.asarray(cv2.addWeighted(grid, 0.7, shown, 0.3, 0), np.uint8)
    labels = Labels(shown, LETTER_PX)
    _draw_horizon(shown, plane, labels)
    for zone in camera.zone:
        corners = _pixels(np.array(zone.polygon), shown)
        colour = ORANGE if zone.kind == "frontage" else SKY
        outline(shown, corners, colour, 2)
        x, y, w, h = cv2.boundingRect(corners)
        labels.set(f"{zone.id}: {zone_text(zone, plane)}", (x, y, x + w, y + h), colour)
    _draw_rectangle(shown, rectangle, labels)
    _label_metres(shown, plane, labels)
    return shown


def _draw_grid(picture: Rgb, plane: Plane) -> None:
    """Draw lines of whole metres along both axes, weak and strong ones."""
    height, width = picture.shape[:2]
    low, high = _extent(plane)
    for axis in (0, 1):
        for metre in range(int(low[axis]), int(high[axis]) + 1):
            strong = metre % MAJOR == 0
            for a, b in _pieces(plane, axis, metre, (low[1 - axis], high[1 - axis]), (width, height), strong=strong):
                cv2.line(picture, a, b, YELLOW if strong else WHITE, 2 if strong else 1, cv2.LINE_AA)


def _label_metres(picture: Rgb, plane: Plane, labels: Labels) -> None:
    """Write metres at the strong lines, along the axes that meet at the rectangle's first corner; and a legend."""
    height, width = picture.shape[:2]
    labels.set("grid: 1 m, strong lines: 5 m, counted from corner 1", (0, height - 1, 1, height - 1), BLACK)
    low, high = _extent(plane)
    for axis in (0, 1):
        metres = np.arange(np.ceil(low[axis] / MAJOR) * MAJOR, high[axis] + 1, MAJOR)
        ground = np.zeros((len(metres), 2))
        ground[:, axis] = metres
        # an axis may lie outside of the picture on one side
        points = plane.to_picture(ground) * (width, height)
        last = np.array([np.inf, np.inf])
        for metre, point in zip(metres, points, strict=True):
            inside = bool(((point > 0) & (point < (width, height))).all())
            if metre != 0 and inside and np.hypot(*(point - last)) > LABELS_PX:
                x, y = _pixel(point)
                labels.set(f"{metre:g} m".replace("-", "−"), (x, y, x, y), BLACK, REGULAR)
                last = point


def _extent(plane: Plane) -> tuple[Array, Array]:
    """Whole metres of ground that the picture shows, up to REACH_M: lowest and highest, shape `(2,)` each."""
    across, down = np.meshgrid(np.linspace(0, 1, 65), np.linspace(0, 1, 65))
    ground = plane.to_ground(np.column_stack([across.ravel(), down.ravel()]))
    ground = np.clip(ground[np.isfinite(ground[:, 0])], -REACH_M, REACH_M)
    return np.floor(ground.min(0)), np.ceil(ground.max(0))


def _pieces(
    plane: Plane, axis: int, metre: int, span: tuple[float, float], size: tuple[int, int], *, strong: bool
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pieces of the line on which one ground coordinate is `metre`, in pixels, where its neighbours keep off."""
    along = np.arange(span[0], span[1] + STEP_M, STEP_M)
    spacing_m = float(MAJOR if strong else 1)
    line, beside = np.empty((len(along), 2)), np.empty((len(along), 2))
    line[:, axis], beside[:, axis] = metre, metre + spacing_m
    line[:, 1 - axis] = beside[:, 1 - axis] = along
    points, neighbours = (plane.to_picture(one) * size for one in (line, beside))
    step = np.diff(points, axis=0)
    off = neighbours[:-1] - points[:-1]
    apart_px = np.abs(step[:, 0] * off[:, 1] - step[:, 1] * off[:, 0]) / np.maximum(np.hypot(*step.T), 1e-9)
    # far outside of the picture, numbers grow beyond what a line can be drawn with
    near = np.asarray((np.abs(points) < 4 * max(size)).all(1))
    for n in np.flatnonzero((apart_px >= DENSEST_PX * (2 if strong else 1)) & near[:-1] & near[1:]):
        yield _pixel(points[n]), _pixel(points[n + 1])


def _draw_horizon(picture: Rgb, plane: Plane, labels: Labels) -> None:
    height, width = picture.shape[:2]
    a, b, c = plane.homography[2]
    if abs(b) < 1e-9:
        return
    left, right = (np.array([x, -(a * x + c) / b]) * (width, height) for x in (0.0, 1.0))
    if max(left[1], right[1]) < 0 or min(left[1], right[1]) > height:
        return
    outline(picture, np.stack([left, right]).round().astype(np.int32), VERMILLION, 2)
    y = round(float(left[1] + right[1]) / 2)
    labels.set("horizon", (width // 2, y - 4, width // 2 + 1, y + 4), VERMILLION)


def _draw_rectangle(picture: Rgb, rectangle: GroundRectangle, labels: Labels) -> None:
    """Draw the four points with their numbers, and the two lengths beside their sides."""
    corners = _pixels(np.array(rectangle.points), picture)
    outline(picture, corners, GREEN, 3)
    for x, y in corners.tolist():
        labels.keep_free((x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX))
    sides = ((0, 1, rectangle.width_m), (1, 2, rectangle.depth_m))
    for first, second, length_m in sides:
        x, y = (corners[first] + corners[second]) // 2
        labels.set(f"{length_m:g} m", (int(x), int(y) - 6, int(x), int(y) + 6), GREEN)
    for number, (x, y) in enumerate(corners.tolist(), 1):
        cv2.circle(picture, (x, y), DOT_PX, GREEN, -1, cv2.LINE_AA)
        write(picture, str(number), x - text_width(str(number), LETTER_PX) // 2, y + 6, LETTER_PX)


def _pixels(points: Array, picture: Rgb) -> NDArray[np.int32]:
    height, width = picture.shape[:2]
    return np.round(points * (width, height)).astype(np.int32)


def _pixel(point: Array) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
