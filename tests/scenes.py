"""A rendered street for pictures of tests and screenshots: shop fronts, a pavement, and what was put out on it."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 1280, 720
GOODS = {"crates": (60, 110, 190), "stall": (70, 140, 90), "bikes": (150, 90, 60), "tables": (90, 120, 150)}
PLACE = (0.40, 0.52, 0.26, 0.24)
"""Where the goods stand: x, y, width, height, in 0 to 1."""
WALLS = ((176, 190, 205), (150, 172, 190), (190, 186, 170), (160, 176, 160))
SIGNS = ((50, 60, 170), (120, 90, 30), (60, 120, 50), (140, 60, 110))


@cache
def street(shop: int) -> Picture:
    """A street that is clear; another number is another shop, in the middle."""
    random = np.random.default_rng(shop)
    shown = np.full((HEIGHT, WIDTH, 3), (214, 206, 196), np.uint8)
    for number, left in enumerate(range(-60, WIDTH, 360)):
        wall = WALLS[(number + shop) % 4]
        cv2.rectangle(shown, (left, 60), (left + 350, 420), wall, -1)
        cv2.rectangle(shown, (left, 40), (left + 350, 66), tuple(int(part * 0.8) for part in wall), -1)
        cv2.rectangle(shown, (left + 14, 96), (left + 336, 160), SIGNS[(number + shop) % 4], -1)
        for at in range(3):
            x = left + 60 + 80 * at
            cv2.rectangle(shown, (x, 112), (x + 44, 146), (225, 225, 225), 2)
            cv2.line(shown, (x + 8, 129), (x + 36, 129), (225, 225, 225), 2)
        cv2.rectangle(shown, (left + 24, 190), (left + 210, 408), (96, 84, 70), -1)
        cv2.rectangle(shown, (left + 34, 200), (left + 200, 398), (132, 122, 104), -1)
        cv2.line(shown, (left + 40, 390), (left + 190, 210), (160, 150, 134), 5)
        cv2.rectangle(shown, (left + 236, 190), (left + 326, 420), (70, 66, 62), -1)
    pavement = np.array([[0, 420], [WIDTH, 420], [WIDTH, 640], [0, 640]], np.int32)
    cv2.fillPoly(shown, [pavement], (168, 174, 178))
    for x in range(-WIDTH, 2 * WIDTH, 110):
        cv2.line(shown, (WIDTH // 2 + (x - WIDTH // 2) // 2, 420), (x, 640), (150, 156, 160), 2)
    for y in (440, 472, 516, 572):
        cv2.line(shown, (0, y), (WIDTH, y), (150, 156, 160), 2)
    cv2.rectangle(shown, (0, 640), (WIDTH, 654), (120, 122, 124), -1)
    cv2.rectangle(shown, (0, 654), (WIDTH, HEIGHT), (92, 90, 88), -1)
    noise = random.normal(0, 4, shown.shape)
    return np.clip(shown + noise, 0, 255).astype(np.uint8)


@cache
def occupied(shop: int, kind: str = "crates") -> Picture:
    """The same street with goods before the shop."""
    shown = street(shop).copy()
    colour = GOODS[kind]
    dark = tuple(int(part * 0.6) for part in colour)
    left, top = round(PLACE[0] * WIDTH), round(PLACE[1] * HEIGHT)
    width, height = round(PLACE[2] * WIDTH), round(PLACE[3] * HEIGHT)
    cv2.ellipse(shown, (left + width // 2, top + height - 6), (width // 2, 16), 0, 0, 360, (120, 124, 128), -1)
    if kind in ("stall", "tables"):
        for x in (left + 16, left + width - 24):
            cv2.rectangle(shown, (x, top + 60), (x + 10, top + height - 8), dark, -1)
        cv2.rectangle(shown, (left, top + 50), (left + width, top + 84), colour, -1)
        for at in range(5):
            cv2.circle(shown, (left + 36 + at * width // 5, top + 38), 20, GOODS["crates" if at % 2 else "bikes"], -1)
    else:
        for row in range(2):
            for at in range(4 - row):
                x, y = left + 8 + row * 38 + at * 78, top + height - 76 - row * 62
                cv2.rectangle(shown, (x, y), (x + 72, y + 58), colour, -1)
                cv2.rectangle(shown, (x, y), (x + 72, y + 58), dark, 3)
                cv2.line(shown, (x, y + 29), (x + 72, y + 29), dark, 3)
    return shown


def close(picture: Picture) -> Picture:
    """The part around the goods."""
    left, top = round((PLACE[0] - 0.07) * WIDTH), round((PLACE[1] - 0.12) * HEIGHT)
    return picture[top : top + round((PLACE[3] + 0.2) * HEIGHT), left : left + round((PLACE[2] + 0.14) * WIDTH)]


def jpeg(picture: Picture) -> bytes:
    """As a box would send it."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
