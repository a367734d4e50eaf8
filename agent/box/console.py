"""What a screen or a serial line on the box shows: who it is, how it stands, what is wrong with its card.

The kernel's screen has no Chinese signs: it gets English; serial lines, read by a terminal program, get both. Texts
are English|Chinese.
"""

import contextlib
import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent import VERSION
from agent.box.blink import Light
from agent.box.standing import TROUBLES, Sight, Standing

WIDTH: Final = 79
"""One less, and one line: a sign in the last corner would move all of it."""
HEIGHT: Final = 24
INDENT: Final = 16
CLEAR: Final = "\033[H\033[2J\033[3J"
CLAIMS: Final = {
    "trying": "claiming|正在认领",
    "silent": "does not answer; it is tried again|没有应答，稍后再试",
    "refused": "refuses the claim|拒绝认领",
}


@dataclass(frozen=True)
class Screen:
    """A place to write to, and whether it can show Chinese."""

    path: Path
    chinese: bool


def screens(active: Path = Path("/sys/class/tty/console/active"), dev: Path = Path("/dev")) -> list[Screen]:
    """The first virtual screen, and the kernel's serial consoles."""
    names = active.read_text("ascii").split() if active.exists() else []
    return [Screen(dev / "tty1", False), *(Screen(dev / name, True) for name in names if not name[3:].isdigit())]


def picture(sight: Sight, *, chinese: bool) -> str:
    """The whole text, at most WIDTH by HEIGHT."""
    standing, faults = sight.standing or Standing(), list(sight.card.get("faults", ()))
    page = "shut; a new file cityeye-setup on CITYEYE opens it|已关闭；在 CITYEYE 分区新建文件 cityeye-setup 可再打开"
    rows = {
        "Box|盒子": standing.box or "not claimed yet|尚未认领",
        "Site|街道": standing.site or str(sight.card.get("site") or "-"),
        "Address|地址": ", ".join(sight.addresses) or "none: check the cable|没有：检查网线",
        "Gateway|网关": sight.gateway or "none|没有",
        "Center|中心": _center(sight.standing),
        "Cameras|摄像头": _cameras(standing),
        "Set-up|设置页": f"{standing.page}  PIN {standing.pin}" if standing.page else page,
    }
    if sight.trouble:
        en, zh = TROUBLES[sight.trouble].split("|")
        rows["Light|指示灯"] = f"blinks {sight.trouble} x: {en}|闪 {sight.trouble} 次：{zh}"
    lines = [f"CityEye {VERSION}", ""]
    for name, value in rows.items():
        shown, texts = (one.split("|")[: 1 + chinese] for one in (name, value))
        head, (first, *more) = " ".join(shown), _fold(" / ".join(texts), WIDTH - INDENT)
        lines += [head + " " * (INDENT - _columns(head)) + first, *(" " * INDENT + one for one in more[:2])]
    if faults:
        lines += ["", "Correct cityeye.toml on any laptop, then power on again:"]
        lines += ["请在电脑上改正 cityeye.toml，再重新通电："] * chinese
    for number, fault in enumerate(faults):
        more = [line for language in ("en", "zh")[: 1 + chinese] for line in _fold("* " + fault[language], WIDTH)]
        if len(lines) + len(more) > HEIGHT - 1:
            lines.append(f"* ... + {len(faults) - number}")
            break
        lines += more
    return "\r\n".join(lines[:HEIGHT])


def _center(standing: Standing | None) -> str:
    if standing is None:
        return "the agent starts|盒子程序正在启动"
    if standing.claim:
        en, zh = CLAIMS[standing.claim].split("|")
        return f"{en}{f' ({standing.fault})' if standing.fault else ''}".replace("|", " ") + f"|{zh}"
    if standing.connected is None:
        return "-" if standing.box else "claim the box by the set-up page|请用设置页认领"
    return "connected|已连接" if standing.connected else "not reached|连不上"


def _cameras(standing: Standing) -> str:
    states = standing.cameras
    live = sum(one == "live" for one in states.values())
    others = "".join(f"; {name} {state}" for name, state in states.items() if state != "live")
    return f"{live} of {len(states)} live{others}|{len(states)} 台中 {live} 台有画面" if states else "-"


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _fold(text: str, width: int) -> list[str]:
    """Lines of a width; signs of Chinese take two columns, and what would steer the screen is a dot."""
    lines = [""]
    for sign in (one if one.isprintable() else "·" for one in text):
        if _columns(lines[-1] + sign) > width:
            lines.append("  ")
        lines[-1] += sign
    return lines


def show(run_dir: Path, places: Sequence[Screen], light: Light, going_on: Callable[[], bool] = lambda: True) -> None:
    """Draw what has changed on each screen, and blink; never raises."""
    shown: dict[Path, str] = {}
    code = 0
    while going_on():
        sight = Sight.take(run_dir)
        for one in places:
            text = picture(sight, chinese=one.chinese)
            if shown.get(one.path) != text and _write(one, text):
                shown[one.path] = text
        if code and not sight.trouble:
            light.rest()
        code = sight.trouble
        light.show(code)


def _write(screen: Screen, text: str) -> bool:
    data = f"{CLEAR}{text}\r\n".encode("utf-8" if screen.chinese else "ascii", "replace")
    with contextlib.suppress(OSError):
        # a serial line that nobody reads must hold nothing up, a slow one takes a while
        line = os.open(screen.path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(line, data) :]
                if not data:
                    return True
                time.sleep(0.05)
        finally:
            os.close(line)
    return False


if __name__ == "__main__":  # the command line would load everything that sees
    show(Path("/run/cityeye"), screens(), Light.find())
