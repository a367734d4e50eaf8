"""The center ends soon when it is told to: here, where nothing else keeps the machine busy."""

import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services import BIN, Broker, Process, free_port

STOPS_S = 3
"""A service manager, and whoever updates the center, waits for it."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_3_s_even_with_an_open_feed(tmp_path, number):
    port, settings = free_port(), tmp_path / "center.toml"
    with Broker("iotcore", tmp_path / "broker") as broker:
        settings.write_text(
            f'version = 1\n[center]\nid = "demo"\nlisten = "127.0.0.1:{port}"\n[broker]\nurl = "{broker.url}"\n'
        )
        command = [BIN / "cityeye-collector", "serve", "--settings", settings]
        with Process(command, tmp_path / "log", port) as served, ThreadPoolExecutor() as pool:
            feed = urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=10)
            assert feed.headers["content-type"].startswith("text/event-stream")
            reading = pool.submit(feed.read)
            served.send(number)
            assert served.process.wait(STOPS_S) == 0
            assert b"retry" in reading.result(5)
            assert "Traceback" not in served.text()
