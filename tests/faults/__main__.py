"""`python -m tests.faults [--only chaos,powercut,…]`: the table of "Must hold", measured on this machine.

Prints one line of figures for each part, and writes `figures.json` and the table in `docs/design/delivery.md`; a part
that is not asked for keeps its figures.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import inbox
from tests.faults import absence, chaos, connections, damage, powercut, visible
from tests.faults.books import FAULTS
from tests.fuzz.running import figures, run
from tests.fuzz.targets import TARGETS
from tests.services import ROOT, Postgres

FIGURES = Path(__file__).with_name("figures.json")
INTRUDERS = "tests/collector/boxes/test_broker.py"
PAGE = ROOT / "docs" / "design" / "delivery.md"
FUZZ_S = 600
LEAST_RATIO = 0.15
VISIBLE_S = 0.3

Say = Callable[[str], None]


def _whole(found: dict[str, Any]) -> bool:
    return not any(found[name] for name in FAULTS) and found["parked"] == 0


def _chaos(folder: Path, say: Say) -> tuple[dict[str, Any], bool]:
    found = chaos.run(chaos.FULL, folder, say)
    return found, _whole(found) and found["incidents"] == chaos.FULL.incidents and found["disk_filled"] == 1


def _collectors(folder: Path, say: Say) -> tuple[dict[str, Any], bool]:
    with Postgres() as postgres:
        found = chaos.run(chaos.TWO_COLLECTORS.on(postgres.create()), folder, say)
    return found, _whole(found)


def _absence(folder: Path, say: Say) -> tuple[dict[str, Any], bool]:
    found = absence.run(absence.FULL, folder, say)
    held = found["out_of_order"] == 0 and absence.not_behind(found)
    return found, held and not any(found[name] for name in FAULTS)


def _powercut(_folder: Path, _say: Say) -> tuple[dict[str, Any], bool]:
    return powercut.measure(incidents=60, variants=2), True


def _damage(folder: Path, _say: Say) -> tuple[dict[str, Any], bool]:
    return damage.run(damage.FULL, folder), True


def _connections(folder: Path, say: Say) -> tuple[dict[str, Any], bool]:
    found = connections.run(connections.FULL, folder, say)
    return found, found["connected"] == found["heard_health_of"] == connections.FULL.boxes and not found["lost_lines"]


def _visible(folder: Path, say: Say) -> tuple[dict[str, Any], bool]:
    found = visible.run(visible.FULL, folder, say)
    return found, found["seen"] == found["incidents"] and found["p99_s"] <= VISIBLE_S


def _throughput(_folder: Path, _say: Say) -> tuple[dict[str, Any], bool]:
    found = inbox.measure(incidents=6000, rounds=3, postgresql=True)
    return found, min(found["ratio"].values()) >= LEAST_RATIO


def _intruders(_folder: Path, _say: Say) -> tuple[dict[str, Any], bool]:
    command = [sys.executable, "-m", "pytest", "-q", INTRUDERS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=1200)
    passed = re.search(r"(\d+) passed", done.stdout)
    dots = sum(line.count(".") for line in done.stdout.splitlines() if re.fullmatch(r"[.sxFE]+ +\[ *\d+%\]", line))
    return {"tests": int(passed[1]) if passed else dots}, done.returncode == 0


def _fuzz(_folder: Path, _say: Say) -> tuple[dict[str, Any], bool]:
    found = run(list(TARGETS), ROOT / ".cache" / "fuzz", FUZZ_S)
    for one in found:
        if one.fault:
            print(f"{one.name}: {one.fault}")
    return {"seconds_each": FUZZ_S, **figures(found)}, not any(one.fault for one in found)


PARTS: dict[str, Callable[[Path, Say], tuple[dict[str, Any], bool]]] = {
    "powercut": _powercut,
    "damage": _damage,
    "absence": _absence,
    "visible": _visible,
    "throughput": _throughput,
    "connections": _connections,
    "collectors": _collectors,
    "chaos": _chaos,
    "intruders": _intruders,
    "fuzz": _fuzz,
}


def main() -> int:
    """Measure; 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    names = parser.parse_args().only.split(",")
    table: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    table["machine"] = f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"
    good = True
    for name in names:
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"cityeye-{name}-") as folder:
            try:
                found, held = PARTS[name](Path(folder), lambda text: print(f"  {text}", file=sys.stderr))
            except AssertionError as fault:
                found, held = {"fault": str(fault)[:500]}, False
        table[name] = {"held": held, **found, "took_s": round(time.monotonic() - began_s)}
        print(f"{name:12} {'holds' if held else 'DOES NOT HOLD'}  {_line(found)}", flush=True)
        FIGURES.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
        _write_page(table)
        good = good and held
    return int(not good)


def _line(found: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in found.items())


def _write_page(table: dict[str, Any]) -> None:
    head, _, rest = PAGE.read_text("utf-8").partition("<!-- measured: begin -->\n")
    tail = rest.partition("<!-- measured: end -->")[2]
    rows = [
        f"| {name} | {'holds' if table[name]['held'] else '**does not hold**'} | {_words(table[name])} |"
        for name in PARTS
        if name in table
    ]
    lines = [f"On: {table['machine']}.", "", "| part | | figures |", "| --- | --- | --- |", *rows]
    measured = "\n".join(("<!-- measured: begin -->", *lines, "<!-- measured: end -->"))
    PAGE.write_text(head + measured + tail, "utf-8")


def _words(figures: dict[str, Any]) -> str:
    shown = (f"{name.replace('_', ' ')} {value}" for name, value in figures.items() if name != "held")
    return "; ".join(shown).translate(str.maketrans("", "", "{}'"))


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
