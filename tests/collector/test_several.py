"""Several collectors on one database and one shared subscription."""

import json
import re
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from sqlalchemy import func, make_url, select

from collector.evidence.files import PictureFiles
from collector.store import Box, IncidentRow, MessageRow, PictureRow, Ticket, open_store
from collector.store.relay import Relay
from tests import incidents
from tests.agent.uplink.test_session import center
from tests.collector.test_inbox import publish
from tests.incidents import Case
from tests.services import BIN, Process, free_port, wait_for


@contextmanager
def collector(folder, broker, url, name):
    port = free_port()
    path = folder / f"{name}.toml"
    path.write_text(
        f'version = 1\n[center]\nid = "demo"\ninstance = "{name}"\nlisten = "127.0.0.1:{port}"\n'
        f'database_url = "{url}"\n[broker]\nurl = "{broker.url}"\nshared = true\n'
    )
    command = [BIN / "cityeye-collector", "serve", "--settings", path]
    with Process(command, folder / f"{name}.log", port) as process:
        wait_for(lambda: "connected to the broker" in process.text(), "it is connected")
        yield process


def get(process, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}") as answer:
        return answer.read().decode()


def taken(process, leaf="incident"):
    found = re.search(
        rf'cityeye_inbox_messages_total{{leaf="{leaf}",outcome="stored"}} (\d+)', get(process, "/metrics")
    )
    return int(found[1]) if found else 0


def count(store, table):
    with store.transaction() as session:
        return session.scalar(select(func.count()).select_from(table))


@pytest.mark.timeout(180)
def test_two_share_the_work_and_one_may_be_killed(tmp_path, broker, postgres, template):
    url = postgres.create(template)
    store = open_store(url)
    cases = [Case(number=n, shop=f"shop-{n % 40}") for n in range(1, 121)]
    sent = [one for case in cases for one in (case.picture("at", number=case.number % 5), case.opened())]
    with center(broker.port) as box:
        box.answering = False

        def stored():
            return {one for ack in box.on("ack") for one in json.loads(ack.payload)["stored"]}

        # retained, from before there was a collector: both are told, it is written once
        status = incidents.status()
        box.client.publish(status.topic, status.payload, qos=1, retain=True).wait_for_publish(10)
        with collector(tmp_path, broker, url, "one") as one, collector(tmp_path, broker, url, "two") as two:
            wait_for(lambda: taken_status(one) and taken_status(two), "both are given what is retained")
            for message in sent[:120]:
                publish(box.client, message)
            wait_for(lambda: len(stored()) == 120, "all is acknowledged")
            assert taken(one) > 0
            assert taken(two) > 0
            assert taken(one) + taken(two) == 60
            one.send(signal.SIGKILL)
            missing = sent[120:]

            def again():
                # a box sends again what is not acknowledged
                for message in missing:
                    if id_of(message) not in stored():
                        publish(box.client, message)
                return len(stored()) == 240

            wait_for(again, "the other one takes all", 120)
            health = json.loads(get(two, "/healthz"))
            assert (health["ok"], health["lag_s"] >= 0) == (True, True)
            figures = get(two, "/metrics")
            assert "cityeye_tickets_open 40.0" in figures
            assert 'cityeye_boxes{state="online"} 1.0' in figures
            assert "cityeye_inbox_lag_seconds_count" in figures
    assert [count(store, table) for table in (MessageRow, IncidentRow, PictureRow, Ticket)] == [120, 120, 120, 40]
    with store.transaction() as session:
        assert session.get(Box, "box-1").state == "online"
        files = PictureFiles(tmp_path / "data" / "evidence")
        assert all(files.path(one).is_file() for one in session.scalars(select(PictureRow.sha256)))
    store.close()


def test_what_one_commits_is_told_to_the_others(postgres):
    url = make_url(postgres.create())
    heard = {"one": threading.Event(), "two": threading.Event()}
    one, two = Relay(url, heard["one"].set), Relay(url, heard["two"].set)
    try:
        for event in heard.values():  # that it listens
            assert event.wait(10)
            event.clear()
        began_s = time.monotonic()
        one.tell()
        assert heard["two"].wait(10)
        assert time.monotonic() - began_s < 2
        assert not heard["one"].wait(0.2)
    finally:
        one.close()
        two.close()


def taken_status(process):
    return 'leaf="status"' in get(process, "/metrics")


def id_of(message):
    if message.properties:
        values = dict(message.properties)
        return f"{values['incident']}:{values['role']}:{values['view']}:{values['sha256']}"
    return json.loads(message.payload)["id"]
