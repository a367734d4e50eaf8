"""From an incident decided on a box to its card on the open board, in a real browser."""

import contextlib
import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from collector.store import MessageRow, Ticket
from protocol.instants import parse_rfc3339
from tests import services
from tests.faults.center import Center, end
from tests.services import BIN, Process, wait_for

CHROMIUM = "/usr/bin/chromium"
WATCH = r"""
window.seen = {};
new MutationObserver((changes) => requestAnimationFrame(() => {
  const now = Date.now();
  for (const { addedNodes } of changes) {
    for (const card of addedNodes) if (!(card.dataset.number in window.seen)) window.seen[card.dataset.number] = now;
  }
})).observe(document.getElementById("queue"), {childList: true});
"""


@dataclass(frozen=True)
class Plan:
    """Incidents a second, and for how long."""

    rate: float
    seconds: float
    boxes: int = 50


FULL = Plan(rate=50, seconds=60)
SHORT = Plan(rate=20, seconds=4, boxes=10)


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Watch the page while incidents come; returns quantiles in seconds."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    assert shutil.which(CHROMIUM), f"expected {CHROMIUM}; run deploy/setup.sh tools"
    incidents = round(plan.rate * plan.seconds)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(services.Broker("mosquitto", folder / "broker"))
        center = Center(folder / "center", broker.url)
        stack.callback(end, center.process)
        center.ready()
        page = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = page.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"http://127.0.0.1:{center.port}/")
        page.get_by_text("Connected").wait_for()
        page.evaluate(WATCH)
        command = [BIN / "cityeye-collector", "simulate", "--boxes", plan.boxes, "--incidents", incidents]
        command += ["--rate", plan.rate, "--url", broker.url, "--clear-s", 20, "--pictures-kb", 8]
        simulation = stack.enter_context(Process(command, folder / "simulation.log"))
        wait_for(lambda: "connected" in simulation.text(), "boxes are connected", 60)
        until_s = time.monotonic() + plan.seconds + 30
        while page.evaluate("Object.keys(window.seen).length") < incidents and time.monotonic() < until_s:
            page.wait_for_timeout(500)
        seen = page.evaluate("window.seen")
        say(f"{len(seen)} of {incidents} incidents seen on the page")
        simulation.stop(30)
        center.stop()
        with center.books() as (store, _), store.transaction() as session:
            rows = session.execute(select(MessageRow.payload, MessageRow.received_ms).where(MessageRow.seq == 1)).all()
            shops = {str(one.number): one.shop for one in session.scalars(select(Ticket))}
    made = {}
    for payload, received_ms in rows:
        data = json.loads(payload)["data"]
        made[data["shop"]] = (_epoch_s(data["at"]), received_ms / 1000)
    took = sorted(at_ms / 1000 - made[shops[number]][0] for number, at_ms in seen.items())
    received = sorted(received_s - made_s for made_s, received_s in made.values())
    return {
        "rate": plan.rate,
        "incidents": incidents,
        "seen": len(seen),
        "p50_s": round(statistics.median(took), 3),
        "p99_s": round(_quantile(took, 0.99), 3),
        "received_p99_s": round(_quantile(received, 0.99), 3),
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _epoch_s(text: str) -> float:

    return parse_rfc3339(text).timestamp()
