"""Many open pages at once: `python -m tests.bench.feed [--pages 200]` prints one line of JSON.

A real collector, broker and box: how much more memory the collector takes with so many pages on its live feed, and how
long after a box has sent an alert the first and the last of them is told, with the card that the board shows.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import httpx2 as httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests import browser, incidents, town
from tests.collector.conftest import Desk
from tests.collector.test_inbox import publish
from tests.incidents import Case
from tests.services import Broker

PAGES, ALERTS = 200, 10
MOST_BYTES = 150_000_000
EVERY_S = 1.5
"""Between two alerts: further apart than the feed's own pause."""
SETTLE_S = 3.0


def memory(pid):
    """Resident bytes of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processor(pid):
    """Seconds of the processor that a process has had; what other load a machine has does not change them much."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Reader:
    """A board that follows; keeps when it was told of which ticket."""

    def __init__(self, client, url, cookie):
        self.client, self.url, self.cookie = client, url, cookie
        self.told = {}
        self.here = asyncio.Event()

    async def follow(self):
        headers = {"cookie": f"cityeye={self.cookie}", "x-background": "1"}
        async with self.client.stream("GET", f"{self.url}/events?cards=1", headers=headers) as answer:
            assert answer.status_code == 200, answer.status_code
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    self.here.set()
                    for one in json.loads(line[5:]).get("tickets", []):
                        assert one["card"]["html"]
                        self.told.setdefault(one["number"], time.monotonic())


async def measure(center, box, cookies, alerts):
    """Figures; all times in seconds."""
    pid = center.process.process.pid
    # the server ends idle connections after 5 s
    limits = httpx.Limits(max_connections=2 * len(cookies), keepalive_expiry=1)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        await client.get(f"{center.url}/", headers={"cookie": f"cityeye={cookies[0]}"})
        await asyncio.sleep(SETTLE_S)
        before = memory(pid)
        readers = [Reader(client, center.url, one) for one in cookies]
        tasks = [asyncio.create_task(one.follow()) for one in readers]
        await asyncio.wait_for(asyncio.gather(*(one.here.wait() for one in readers)), 120)
        await asyncio.sleep(SETTLE_S)
        delays = []
        had_s = processor(pid)
        for number in range(1, alerts + 1):
            case = Case(
                number=number, shop=f"shop-{number}", box="xiaohe-1", site=town.STREET, opened_s=time.time() - 200
            )
            sent_s = time.monotonic()
            publish(box, case.message("opened", time.time(), shop=case.shop))
            while not all(number in one.told for one in readers):
                for one in tasks:
                    if one.done():
                        one.result()
                assert time.monotonic() - sent_s < 60, f"alert {number} did not reach all pages"
                await asyncio.sleep(0.05)
            delays.append([one.told[number] - sent_s for one in readers])
            await asyncio.sleep(EVERY_S)
        after, had_s = memory(pid), processor(pid) - had_s
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "pages": len(cookies),
        "alerts": alerts,
        "first_page_s": round(max(min(one) for one in delays), 3),
        "last_page_s": round(max(max(one) for one in delays), 3),
        "processor_s_each": round(had_s / alerts, 3),
        "more_bytes": after - before,
        "bytes": before,
        "load": round(os.getloadavg()[0], 1),
    }


def run(pages=PAGES, alerts=ALERTS):
    """Measure once."""
    with tempfile.TemporaryDirectory() as scratch, Broker("iotcore", Path(scratch) / "broker") as broker:
        folder = Path(scratch) / "data"
        folder.mkdir()
        desk = Desk(folder)
        town.Town(desk, pictures=False).people().places()
        with browser.Center(desk, broker.url) as center:
            cookies = [center.cookie("li")["value"] for _ in range(pages)]
            box = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
            box.connect("127.0.0.1", broker.port)
            box.loop_start()
            publish(box, incidents.status(box="xiaohe-1", site=town.STREET))
            try:
                return asyncio.run(measure(center, box, cookies, alerts))
            finally:
                box.disconnect()
                box.loop_stop()
                desk.store.close()


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--alerts", type=int, default=ALERTS)
    given = parser.parse_args()
    print(json.dumps(run(given.pages, given.alerts)))


if __name__ == "__main__":
    main()
