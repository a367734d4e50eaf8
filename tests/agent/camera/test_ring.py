"""Pictures in shared memory."""

import gc
import os

import numpy as np
import pytest

from agent.camera.frame import Frame
from agent.camera.ring import SLOTS, WAITING, Lender, Ring, new_memory


@pytest.fixture
def ring():
    memory = new_memory()
    yield Ring(memory)
    os.close(memory)


def test_a_slot_is_free_again_when_the_last_array_that_shows_it_is_gone(ring):
    free = []
    lender = Lender(ring, free.append)
    ring.slot(2, 64, 48)[:] = 7
    frame = Frame(0.0, True, lender.lend(2, 64, 48))
    view = frame.planes[:48][::2]
    del frame
    gc.collect()
    assert free == []
    assert int(view.max()) == 7
    del view
    gc.collect()
    assert free == [2]


def test_nobody_writes_into_what_is_lent(ring):
    planes = Lender(ring, lambda _: None).lend(0, 64, 48)
    with pytest.raises(ValueError, match="read-only"):
        planes[0, 0] = 1


def test_who_keeps_many_gets_copies_so_that_a_slot_is_always_free(ring):
    free = []
    lender = Lender(ring, free.append)
    kept = []
    for number in range(SLOTS):
        ring.slot(number, 64, 48)[:] = number
        kept.append(lender.lend(number, 64, 48))
    # room is left for those that wait and the one that is written
    assert free == list(range(SLOTS - WAITING - 1, SLOTS))
    ring.slot(SLOTS - 1, 64, 48)[:] = 99
    assert [int(planes[0, 0]) for planes in kept] == list(range(SLOTS))


def test_frames_outlive_their_reader(ring):
    told = []
    lender = Lender(ring, told.append)
    planes = lender.lend(1, 64, 48)
    lender.close()
    assert planes.shape == (72, 64)
    del planes
    gc.collect()
    assert told == []


def test_a_forgotten_slot_takes_no_memory_and_can_be_written_again():
    memory = new_memory()
    ring = Ring(memory)
    ring.slot(1, 1920, 1080)[:] = 5
    taken = os.fstat(memory).st_blocks
    ring.forget(1)
    assert os.fstat(memory).st_blocks < taken / 10
    slot = ring.slot(1, 1920, 1080)
    assert int(slot.max()) == 0
    slot[:] = 6
    assert np.all(ring.slot(1, 1920, 1080) == 6)
    del slot
    os.close(memory)
