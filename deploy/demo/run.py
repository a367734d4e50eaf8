"""The demo: broker, collector and agent as real processes on a real clip, from a street video to tickets on a page.

    python deploy/demo/run.py --video FILE [--once] [--keep] [--dir FOLDER] [--port PORT]

Everything that it writes lies in FOLDER (`.demo`). What dies is started again, so that it may be killed for a try.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clip import Staged, stage

from agent.vision.selection import model_folders
from models.catalogue import load_catalogue

GIVE_UP_S = 180.0
START_S = 60.0
PR_SET_PDEATHSIG = 1
HERE = Path(__file__).resolve().parent
SHIPPED = "street-person, which ships with the project"

CENTER = """\
version = 1

[center]
id = "demo"
name = "CityEye 演示街道 Demo Street"
timezone = "{timezone}"
data_dir = "center"
listen = "127.0.0.1:{page}"
banner = "演示：货箱为后期合成，其余为真实录像。 Demo: the crates are staged, the rest is real footage."

[broker]
url = "mqtt://127.0.0.1:{broker}"
"""

BOX = """\
version = 1

[box]
id = "box-demo"
site = "demo"
state_dir = "box"
timezone = "{timezone}"

[center]
url = "mqtt://127.0.0.1:{broker}"
{detector}
[[camera]]
id = "street"
source = {source}
sample_s = 0.5
learn_s = 8

[[camera.zone]]
id = "shop-12-front"
kind = "frontage"
shop = "shop-12"
polygon = {front}
dwell_s = 10
clear_s = 5

[[camera.zone]]
id = "square"
kind = "gathering"
polygon = [[0.0, 0.1], [1.0, 0.1], [1.0, 1.0], [0.0, 1.0]]
max_people = 3
dwell_s = 3
clear_s = 10
"""


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Service:
    """One process of the demo; it is started again when it dies."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it and say its number."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - this program has one thread
                start_new_session=True,  # Ctrl-C is for this program, which then stops the others in order
            )
        self.starts.append(time.monotonic())
        say(f"{self.name:<9} pid {self.process.pid}")

    def keep_up(self) -> None:
        """Start it again if it died; give up on one that dies at once, again and again."""
        if self.process is None or self.process.poll() is None:
            return
        say(f"{self.name} ended ({self.process.returncode}); starting it again")
        if len(self.starts) >= 5 and time.monotonic() - self.starts[-5] < 20:
            raise Failed(f"{self.name} does not stay up:\n{self.tail()}")
        self.start()

    def stop(self) -> None:
        """Ask it to end; kill it if it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-8:])


class Failed(Exception):  # noqa: N818 - a result, not a fault of the program
    """The demo did not get where it should."""


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def find_detector() -> str | None:
    """The first detector of the catalogue in a folder of CITYEYE_MODELS; None: the one that ships is used."""
    for entry in load_catalogue():
        if entry.task == "detect" and any((one / f"{entry.name}.onnx").is_file() for one in model_folders()):
            return entry.name
    return None


def free_port(wanted: int | None = None) -> int:
    """A free port on loopback: the wanted one, if it is."""
    for port in [wanted, 0] if wanted else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port or 0))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Failed("expected a free port on 127.0.0.1, found none")


def front(box: tuple[float, float, float, float]) -> list[list[float]]:
    """A zone around the staged crates, as an installer would draw it: somewhat wider than they are."""
    x, y, w, h = box
    left, right = max(0.0, x - 0.8 * w), min(1.0, x + 1.8 * w)
    top, bottom = max(0.0, y - 0.5 * h), min(1.0, y + 1.5 * h)
    return [[round(a, 3), round(b, 3)] for a, b in ((left, top), (right, top), (right, bottom), (left, bottom))]


def write_settings(folder: Path, staged: Staged, detector: str | None, broker: int, page: int) -> None:
    """Write center.toml and box.toml."""
    timezone = "Asia/Shanghai"
    model = f'\n[detector]\nmodel = "{detector}"\n' if detector else ""
    (folder / "center.toml").write_text(CENTER.format(page=page, broker=broker, timezone=timezone), "utf-8")
    (folder / "box.toml").write_text(
        BOX.format(
            broker=broker,
            detector=model,
            source=json.dumps(str(staged.path.resolve())),
            front=front(staged.box),
            timezone=timezone,
        ),
        "utf-8",
    )


def get(url: str) -> Any:
    """Fetch JSON; None while nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - our own loopback address
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return None


def agent_is_live(log: Path) -> bool:
    """Whether the agent has seen its first picture."""
    return log.exists() and ": live" in log.read_text("utf-8", "replace")


@dataclass
class Watcher:
    """Tells what happens to the tickets, once each."""

    page: str
    told: set[str] = field(default_factory=set)

    def look(self) -> tuple[bool, bool, bool]:
        """Whether there is an encroachment ticket with a picture, whether it cleared, whether one of crowding."""
        tickets = get(f"{self.page}/api/tickets") or []
        for ticket in sorted(tickets, key=lambda one: int(one["number"])):
            name = f"ticket #{ticket['number']} {ticket['rule']}"
            self._tell(f"{name}: opened  {self.page}/tickets/{ticket['number']}")
            if ticket["cleared_at"] and not ticket["open"]:
                self._tell(f"{name}: seen clear again, cleared_at {ticket['cleared_at']}")
        front_tickets = [one for one in tickets if one["rule"] == "encroachment" and _has_pictures(one)]
        crowds = [one for one in tickets if one["rule"] == "crowding" and _has_pictures(one)]
        return bool(front_tickets), any(one["cleared_at"] for one in front_tickets), bool(crowds)

    def _tell(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            say(text)


def _has_pictures(ticket: dict[str, Any]) -> bool:
    return any(incident["pictures"] for incident in ticket["incidents"])


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit status."""
    folder: Path = options.dir.resolve()
    if not options.keep:
        for old in ("box", "center", "logs"):
            shutil.rmtree(folder / old, ignore_errors=True)
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    say(f"clip: {options.video} (a stack of crates is staged in a copy of it)")
    staged = stage(options.video, folder / "clips", _bar)
    detector = find_detector()
    say(f"detector: {detector or SHIPPED}")
    broker, page = free_port(), free_port(options.port)
    write_settings(folder, staged, detector, broker, page)
    address = f"http://127.0.0.1:{page}"
    script = str(Path(sys.executable).parent)
    services = [
        Service("broker", [sys.executable, str(HERE / "broker.py"), str(broker), str(folder)], logs / "broker.log"),
        Service(
            "collector",
            [f"{script}/cityeye-collector", "serve", "--settings", str(folder / "center.toml")],
            logs / "collector.log",
        ),
        Service(
            "agent", [f"{script}/cityeye-agent", "run", "--settings", str(folder / "box.toml")], logs / "agent.log"
        ),
    ]
    try:
        for service in services:
            service.start()
        _wait_until_up(services, f"{address}/healthz", logs / "agent.log")
        say(f"all services are up; open {address}/")
        wait = f"the crates appear {staged.appears_s:.0f} s into the clip and go {staged.gone_s:.0f} s into it"
        say(f"{wait}; the ticket comes some 12 s after each" + ("" if options.once else "; Ctrl-C ends"))
        return _follow(services, Watcher(address), once=options.once)
    except Failed as fault:
        say(f"failed: {fault}")
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for service in reversed(services):
            service.stop()
        say(f"stopped; logs and data are in {folder}")


def _wait_until_up(services: list[Service], health: str, agent_log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while not ((get(health) or {}).get("ok") and agent_is_live(agent_log)):
        for service in services:
            service.keep_up()
        if time.monotonic() > deadline_s:
            raise Failed("\n".join(f"{service.name}:\n{service.tail()}" for service in services))
        time.sleep(0.3)


def _follow(services: list[Service], watcher: Watcher, *, once: bool) -> int:
    began_s = time.monotonic()
    while True:
        for service in services:
            service.keep_up()
        shop, cleared, crowd = watcher.look()
        if once and shop and cleared and crowd:
            say("done: a ticket of each kind, the shop's is clear")
            return 0
        if once and time.monotonic() - began_s > GIVE_UP_S:
            state = f"encroachment ticket: {shop}, cleared: {cleared}, crowding ticket: {crowd}"
            raise Failed(f"not there after {GIVE_UP_S:.0f} s; {state}")
        time.sleep(0.5)


def _bar(share: float) -> None:
    if sys.stdout.isatty():
        print(f"\r          rendering {share:4.0%}", end="\n" if share >= 1 else "", flush=True)


def _stop(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="CityEye from a street video to tickets on a page")
    parser.add_argument("--video", type=Path, required=True, help="a clip of a street")
    parser.add_argument("--once", action="store_true", help="end by itself: 0 after the tickets exist, else non-zero")
    parser.add_argument("--keep", action="store_true", help="go on with the state of the last run")
    parser.add_argument("--dir", type=Path, default=Path(".demo"), help="where everything is written")
    parser.add_argument("--port", type=int, default=8080, help="of the page, if it is free")
    options = parser.parse_args()
    if not options.video.is_file():
        parser.error(f"{options.video}: expected a video file, found none; set VIDEO to one")
    signal.signal(signal.SIGTERM, _stop)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(run(options))


if __name__ == "__main__":
    main()
