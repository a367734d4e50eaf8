"""Simulated boxes: the real protocol, against a real broker and a real center."""

import contextlib
import json
import sqlite3
from random import Random

import cv2
import numpy as np
import pytest

from collector.simulation.box import RESEND_S, WINDOW, SimulatedBox
from collector.simulation.pictures import picture
from protocol.messages import Acknowledgement, IncidentEvent, read_event
from protocol.pictures import MAX_PICTURE_BYTES
from protocol.seal import seal_fault
from tests.faults.center import Center, end
from tests.services import BIN, Process, wait_for

START_S = 1_780_000_000.0


@pytest.mark.parametrize("kb", [4, 8, 150, 500])
def test_a_picture_is_one_and_has_its_size(kb):
    content = picture("a", kb * 1024)
    assert content != picture("b", kb * 1024)
    assert kb * 1000 <= len(content) <= min(MAX_PICTURE_BYTES, kb * 1050)
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (180, 320, 3)


def box():
    return SimulatedBox("s", "b", 2, 4096, Random(1))


def test_what_a_box_makes_is_sent_until_the_center_has_it():
    one = box()
    one.open(START_S)
    message, shot = one.due(START_S)
    assert one.due(START_S + RESEND_S - 1) == []
    assert one.due(START_S + 2 * RESEND_S) == [message, shot]
    assert one.acknowledge(Acknowledgement(stored=(message.id,)), START_S + 61) == [61]
    assert one.due(START_S + 200) == [shot]
    assert one.acknowledge(Acknowledgement(stored=(shot.id, message.id)), START_S + 201) == [201]
    assert one.waiting == 0


def test_a_box_keeps_to_its_window_and_the_centers_word():
    one = box()
    for _ in range(WINDOW):
        one.open(START_S)
    first = one.due(START_S)
    assert len(first) == WINDOW
    assert one.due(START_S) == []
    answer = {"stored": [first[0].id], "later": [{"id": first[1].id, "after_s": 500}]}
    answer["refused"] = [{"id": first[2].id, "code": "invalid", "text": "no"}]
    one.acknowledge(Acknowledgement.model_validate(answer), START_S)
    assert len(one.due(START_S)) == 2
    assert one.refused == [f"{first[2].id}: invalid: no"]
    one.reconnected()
    assert one.due(START_S)[0] == first[1]


def test_its_pictures_pass_the_seal():
    one = box()
    key = json.loads(one.greeting(START_S)[0].payload)["data"]["public_key"]
    for _ in range(2):
        one.open(START_S)
    parcels = one.due(START_S)
    heads = []
    for message, shot in zip(parcels[::2], parcels[1::2], strict=True):
        data = read_event(message.payload, IncidentEvent).data
        assert seal_fault(data.incident, data.evidence[0], key, shot.payload) is None
        heads.append(data.evidence[0].prev)
    assert heads[0] is None
    assert heads[1] is not None


@pytest.mark.timeout(180)
def test_all_that_boxes_send_arrives_though_the_broker_is_killed(tmp_path, broker):
    center = Center(tmp_path / "center", broker.url)
    try:
        center.ready()
        command = [BIN / "cityeye-collector", "simulate", "--boxes", 20, "--incidents", 60, "--rate", 20]
        with Process([*command, "--clear-s", 1, "--url", broker.url], tmp_path / "log") as simulation:
            wait_for(lambda: count(center, "message") > 10, "the first messages are taken")
            broker.kill()
            broker.start()
            assert simulation.process.wait(120) == 0, simulation.text()
        figures = json.loads(simulation.text().splitlines()[-1])
        assert (figures["connected"], figures["stored"], figures["refused"], figures["waiting"]) == (20, 180, 0, 0)
        assert figures["lost_lines"] > 0
        assert (count(center, "message"), count(center, "picture"), count(center, "ticket")) == (120, 60, 60)
    finally:
        end(center.process)


def count(center, table):
    with contextlib.closing(sqlite3.connect(center.folder / "data" / "center.db")) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - a table of ours
