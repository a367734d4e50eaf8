"""What a screen or a serial line on the box shows: who it is, how it stands, what is wrong with its card.

The kernel's screen has no Chinese signs: it gets English; serial lines, read by a terminal program, get both.
"""

import contextlib
import os
import textwrap
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent import VERSION
from agent.box.blink import Light
from agent.box.standing import TROUBLES, Sight, Standing
from protocol.words import Words

WIDTH: Final = 79
"""One less, and one line: a sign in the last corner would move all of it."""
HEIGHT: Final = 24
MEND: Final = Words(
    "请在电脑上改正 cityeye.toml，再重新通电：", "Correct cityeye.toml on any laptop, then power on again:"
)
SHUT: Final = Words(
    "已关闭；在 CITYEYE 分区新建文件 cityeye-setup 可再打开", "shut; a new file cityeye-setup on CITYEYE opens it"
)
CLEAR: Final = "\033[H\033[2J\033[3J"


@dataclass(frozen=True)
class Screen:
    """A place to write to; `languages` are those that it can show."""

    path: Path
    languages: tuple[str, ...]


def screens(active: Path = Path("/sys/class/tty/console/active"), dev: Path = Path("/dev")) -> list[Screen]:
    """The first virtual screen, and the kernel's serial consoles."""
    names = active.read_text("ascii").split() if active.exists() else []
    serial = [Screen(dev / name, ("en", "zh")) for name in names if not name[3:].isdigit()]
    return [Screen(dev / "tty1", ("en",)), *serial]


def picture(sight: Sight, languages: Sequence[str]) -> str:
    """The whole text, at most WIDTH by HEIGHT."""
    standing = sight.standing or Standing()
    faults = list(sight.card.get("faults", ()))
    rows = [
        ("Box", "盒子", standing.box or Words("尚未认领", "not claimed yet")),
        ("Site", "街道", standing.site or str(sight.card.get("site") or "-")),
        ("Address", "地址", ", ".join(sight.addresses) or Words("没有：检查网线", "none: check the cable")),
        ("Gateway", "网关", sight.gateway or Words("没有", "none")),
        ("Center", "中心", _center(sight.standing)),
        ("Cameras", "摄像头", _cameras(standing)),
        ("Set-up", "设置页", f"{standing.page}  PIN {standing.pin}" if standing.page else SHUT),
    ]
    if sight.trouble:
        blinks = TROUBLES[sight.trouble]
        rows.append(
            ("Light", "指示灯", Words(f"闪 {sight.trouble} 次：{blinks.zh}", f"blinks {sight.trouble} x: {blinks.en}"))
        )
    both = len(languages) > 1
    lines = [f"CityEye {VERSION}", ""]
    for en, zh, value in rows:
        texts = [value] if isinstance(value, str) else [getattr(value, one) for one in languages]
        lines += _wrapped(f"{en} {zh}" if both else en, " / ".join(texts))
    if faults:
        lines += ["", *(getattr(MEND, one) for one in languages)]
    for number, fault in enumerate(faults):
        more = [line for language in languages for line in _fold("* " + fault[language])]
        if len(lines) + len(more) > HEIGHT - 1:
            lines.append(f"* ... + {len(faults) - number}")
            break
        lines += more
    return "\r\n".join(lines[:HEIGHT])


def _center(standing: Standing | None) -> str | Words:
    if standing is None:
        return Words("盒子程序正在启动", "the agent starts")
    claims = {
        "trying": Words("正在认领", "claiming"),
        "silent": Words("没有应答，稍后再试", "does not answer; it is tried again"),
        "refused": Words("拒绝认领", "refuses the claim"),
    }
    if standing.claim:
        words = claims[standing.claim]
        return Words(words.zh, f"{words.en}{f' ({standing.fault})' if standing.fault else ''}")
    if standing.connected is None:
        return Words("请用设置页认领", "claim the box by the set-up page") if not standing.box else "-"
    return Words("已连接", "connected") if standing.connected else Words("连不上", "not reached")


def _cameras(standing: Standing) -> str | Words:
    states = standing.cameras
    live = sum(one == "live" for one in states.values())
    others = ", ".join(f"{name} {state}" for name, state in states.items() if state != "live")
    rest = f"; {others}" if others else ""
    return Words(f"{len(states)} 台中 {live} 台有画面", f"{live} of {len(states)} live{rest}") if states else "-"


def _wrapped(name: str, text: str) -> list[str]:
    first, *more = _fold(text, WIDTH - 16) or [""]
    return [name + " " * max(1, 16 - _columns(name)) + first, *(" " * 16 + one for one in more[:2])]


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _fold(text: str, width: int = WIDTH) -> list[str]:
    """Lines of a width; Chinese has no spaces, and its signs take two columns."""
    if text.isascii():
        return textwrap.wrap(text, width, subsequent_indent="  ")
    lines = [""]
    for sign in text:
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
            text = picture(sight, one.languages)
            if shown.get(one.path) != text and _write(one, text):
                shown[one.path] = text
        if code and not sight.trouble:
            light.rest()
        code = sight.trouble
        light.show(code)


def _write(screen: Screen, text: str) -> bool:
    encoding = "utf-8" if "zh" in screen.languages else "ascii"
    data = (CLEAR + text + "\r\n").encode(encoding, "replace")
    try:
        # a serial line that nobody reads must hold nothing up, a slow one takes a while
        line = os.open(screen.path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(line, data) :]
            if not data:
                break
            time.sleep(0.05)
    except OSError:
        pass
    finally:
        os.close(line)
    return not data


if __name__ == "__main__":  # the command line would load everything that sees
    show(Path("/run/cityeye"), screens(), Light.find())
