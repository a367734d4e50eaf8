"""The network of the shipped detector, its truth and its export; needs torch, which the extra `models` brings."""

import numpy as np
import pytest

from agent.vision.detector import load_detector
from agent.vision.people import COUNT_SCORE
from models.train.photos import Peopled

torch = pytest.importorskip("torch", reason="needs the extra `models`")

from models.train.assignment import Truth, assign, complete_iou, loss  # noqa: E402 - after it is known that torch is here
from models.train.detector import Answer, PersonNet, grid_middles  # noqa: E402 - as above
from models.train.persons import Run, calibration, write  # noqa: E402 - as above

SIDE = 64
MIDDLES = grid_middles(SIDE, SIDE)
BOX = torch.tensor([[8.0, 8.0, 24.0, 56.0]])
NOBODY = Truth(torch.zeros((0, 4)), torch.zeros(0), torch.zeros((0, 4)))


def answer(corners, logit=-4.0):
    cells = len(MIDDLES)
    return Answer(torch.full((1, cells), logit), corners.expand(1, cells, 4).clone())


def test_cells_in_the_box_that_place_it_well_answer_for_it():
    cells, owners, targets = assign(torch.zeros(len(MIDDLES)), BOX.expand(len(MIDDLES), 4), BOX, MIDDLES)
    assert 1 <= len(cells) <= 10
    assert set(owners.tolist()) == {0}
    assert ((MIDDLES[cells] > BOX[0, :2]) & (MIDDLES[cells] < BOX[0, 2:])).all()
    assert targets.max() == pytest.approx(1.0)


def test_two_people_never_share_a_cell():
    boxes = torch.cat([BOX, BOX + 6])
    cells, owners, _ = assign(torch.zeros(len(MIDDLES)), boxes[0].expand(len(MIDDLES), 4), boxes, MIDDLES)
    assert len(set(cells.tolist())) == len(cells) == len(owners)


@pytest.mark.parametrize(
    ("other", "expected"), [((8, 8, 24, 56), 1.0), ((24, 8, 40, 56), -0.0769), ((40, 8, 56, 56), -0.2222)]
)
def test_boxes_that_do_not_meet_are_the_worse_the_farther_they_are(other, expected):
    assert float(complete_iou(BOX, torch.tensor([other], dtype=torch.float32))) == pytest.approx(expected, abs=1e-3)


def test_what_is_ignored_costs_nothing_and_a_false_person_does():
    everywhere = torch.tensor([[0.0, 0.0, SIDE, SIDE]])
    sure = answer(BOX, logit=4.0)
    ignoring = Truth(NOBODY.boxes, NOBODY.trust, everywhere)
    assert float(loss(sure, [ignoring], MIDDLES)) == 0
    assert float(loss(sure, [NOBODY], MIDDLES)) > 10 * float(loss(answer(BOX), [NOBODY], MIDDLES))


def test_it_learns_one_picture_by_heart_and_the_agent_reads_what_is_exported(tmp_path):
    torch.manual_seed(3)
    torch.set_num_threads(1)
    run = Run.begin(3)
    photo = torch.full((1, 3, 320, 416), 0.5)
    photo[:, :, 100:220, 150:200] = 0.05
    box = torch.tensor([[150.0, 100.0, 200.0, 220.0]])
    truth, middles = Truth(box, torch.ones(1), torch.zeros((0, 4))), grid_middles(320, 416)
    run.net.train()
    for _ in range(200):
        value = loss(run.net(photo), [truth], middles)
        run.optimiser.zero_grad()
        value.backward()
        run.optimiser.step()
    path = tmp_path / "person.onnx"
    write(run.net, path, 0.0)
    assert path.stat().st_size < 3_000_000
    detector = load_detector(path, min_score=0.3)
    assert (detector.layout, detector.input_size, detector.names) == ("anchor-free", (416, 320), {0: "person"})
    found = detector.detect((photo[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    assert len(found) == 1
    assert found.boxes[0] == pytest.approx([150 / 416, 100 / 320, 50 / 416, 120 / 320], abs=0.06)


def test_scores_are_calibrated_so_that_as_many_are_found_as_there_are(tmp_path):
    run = Run.begin(4)
    rng = np.random.default_rng(4)
    photos = [
        Peopled(rng.integers(0, 255, (160, 224, 3)).astype(np.uint8), *(np.zeros((n, 4)), np.ones(n), np.zeros((0, 4))))
        for n in (2, 7, 3)
    ]
    shift = calibration(run.net, photos)
    write(run.net, tmp_path / "person.onnx", shift)
    detector = load_detector(tmp_path / "person.onnx", size=(224, 160))
    assert detector.min_score == COUNT_SCORE
    # a score that lies on the threshold may fall on either side
    assert sum(len(detector.detect(one.rgb)) for one in photos) == pytest.approx(12, abs=1)
    assert calibration(run.net, []) == 0


def test_a_training_is_taken_up_where_it_was_left(tmp_path):
    run = Run.begin(1)
    run.step, run.spent_s, run.curve = 7, 60.0, [(1.0, 112, 0.5)]
    run.save(tmp_path / "a.pt")
    again = Run.begin(2)
    again.resume(tmp_path / "a.pt")
    assert (again.step, again.spent_s, again.curve) == (7, 60.0, [(1.0, 112, 0.5)])
    assert all(torch.equal(a, b) for a, b in zip(run.net.parameters(), again.net.parameters(), strict=True))


def test_it_stays_within_its_size():
    assert sum(p.numel() for p in PersonNet().parameters()) <= 1_200_000
