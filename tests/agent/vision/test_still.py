"""The still scene on pictures rendered here, so that every row says what it shows."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from agent.vision.change import comparer
from agent.vision.places import PlaceState, zone_mask
from agent.vision.still import PART_S, StillScene

HEIGHT, WIDTH = 180, 320
EVERYWHERE = np.ones((HEIGHT, WIDTH), np.bool_)
LEARN_S, DWELL_S, MIN_AREA = 10.0, 20.0, 0.002
PLACE = (0.4, 0.5, 0.125, 0.2)  # 40 × 36 px


def pavement(seed=1):
    """Slabs with joints, stains and a kerb."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH), 120, np.float32)
    picture += cv2.resize(
        rng.normal(0, 14, (12, 20)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    picture += cv2.GaussianBlur(rng.normal(0, 10, picture.shape).astype(np.float32), (0, 0), 1.5)
    picture[::24] -= 25
    picture[:, ::32] -= 25
    picture[:40] += 40
    return picture


def crate(seed=2, brightness=90):
    rng = np.random.default_rng(seed)
    thing = np.full((36, 40), brightness, np.float32) + rng.normal(0, 5, (36, 40)).astype(np.float32)
    thing[:3] += 60
    thing[::9] -= 40
    thing[:, ::13] += 35
    return thing


def put(picture, thing, x=128, y=90):
    picture = picture.copy()
    h, w = thing.shape
    picture[y : y + h, x : x + w] = thing
    return picture


def person(sway, seed=3):
    """A standing figure whose outline shifts by whole pixels, as a body does at this size."""
    rng = np.random.default_rng(seed)
    figure = np.full((60, 22), 60, np.float32) + rng.normal(0, 8, (60, 22)).astype(np.float32)
    figure[:12, 6:16] = 170
    return lambda picture: put(picture, figure, 200 + sway, 70)


@dataclass
class Street:
    """A camera over a rendered street; one sample a second."""

    scene: StillScene
    ground: np.ndarray
    time_s: float = 0.0
    seed: int = 9

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.view = None

    def watch(self, seconds, paint=lambda picture, _: picture, gain=1.0, hidden=(), noise=2.0):
        for _ in range(seconds):
            picture = paint(self.ground, int(self.time_s)) * gain
            noisy = np.clip(picture + self.rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
            self.view = self.scene.observe(noisy, self.time_s, hidden)
            self.time_s += 1
        return self.view

    def items(self, age_s=DWELL_S):
        return self.view.items(EVERYWHERE, MIN_AREA, age_s)


@pytest.fixture
def street():
    street = Street(StillScene(LEARN_S), pavement())
    street.watch(20)
    return street


def cloth(t):
    """Somebody who stands close by and moves about."""
    rng = np.random.default_rng(t)
    return np.full((70, 60), 30, np.float32) + rng.normal(0, 15, (70, 60)).astype(np.float32)


def standing(picture, _):
    return put(picture, crate())


def iou(a, b):
    from protocol.geometry import box_iou  # noqa: PLC0415 - only this helper needs it

    return box_iou(a, b)


def test_nothing_is_said_before_the_place_is_learned():
    street = Street(StillScene(LEARN_S), pavement())
    assert street.watch(14) is None
    assert street.watch(2) is not None


def test_a_thing_becomes_an_item_once_it_stood_for_the_dwell(street):
    began_s = street.time_s
    while not (street.watch(1, standing) and street.items()):
        assert street.time_s - began_s < 40
    assert DWELL_S <= street.time_s - began_s <= DWELL_S + 5
    (found,) = street.items()
    assert iou(found.box, PLACE) > 0.6
    assert began_s <= found.since_s <= began_s + 2


@pytest.mark.parametrize("brightness", [35, 70, 150, 215])
def test_dark_and_bright_things_are_seen(street, brightness):
    street.watch(30, lambda picture, _: put(picture, crate(brightness=brightness)))
    assert len(street.items()) == 1


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.25, 1.6])
def test_a_change_of_light_is_no_item(street, gain):
    street.watch(60, gain=gain)
    assert street.items(0) == ()


def test_a_slow_change_of_light_is_followed(street):
    for step in range(120):
        street.watch(5, gain=1 - 0.5 * step / 120)
        assert street.items(0) == ()


@pytest.mark.parametrize("noise", [4.0, 8.0, 12.0])
def test_the_noise_of_a_night_is_no_sway(street, noise):
    street.watch(30, noise=noise)
    street.watch(40, standing, noise=noise)
    (found,) = street.items()
    assert iou(found.box, PLACE) > 0.5


@pytest.mark.parametrize("noise", [4.0, 8.0])
def test_a_person_sways_in_the_noise_of_a_night_too(street, noise):
    rng = np.random.default_rng(4)
    sway = rng.integers(-2, 3, 200)
    street.watch(30, noise=noise)
    for _ in range(60):
        street.watch(1, lambda picture, t: person(int(sway[t]))(picture), noise=noise)
        assert street.items() == ()


def test_people_who_pass_are_no_item(street):
    street.watch(90, lambda picture, t: put(picture, np.full((60, 20), 40, np.float32), 12 * (t % 25), 60))
    assert street.items() == ()


def test_a_person_who_stands_and_sways_is_no_item(street):
    rng = np.random.default_rng(4)
    sway = rng.integers(-2, 3, 200)
    for _ in range(80):
        street.watch(1, lambda picture, t: person(int(sway[t]))(picture))
        assert street.items() == ()


def test_what_a_detector_hides_is_never_an_item(street):
    street.watch(60, standing, hidden=(PLACE,))
    assert street.items(0) == ()
    assert street.view.place(EVERYWHERE, PLACE, MIN_AREA)[0] is PlaceState.NOT_SEEN


def test_somebody_who_stops_in_front_takes_nothing_from_the_dwell(street):
    began_s = street.time_s
    street.watch(15, standing)
    street.watch(8, lambda picture, t: put(standing(picture, t), np.full((70, 46), 50, np.float32), 125, 70))
    street.watch(8, standing)
    (found,) = street.items()
    assert found.since_s <= began_s + 2


def test_a_place_is_clear_occupied_or_not_seen(street):
    def state():
        return street.view.place(EVERYWHERE, PLACE, MIN_AREA)[0]

    assert state() is PlaceState.CLEAR
    street.watch(15, standing)
    assert state() is PlaceState.OCCUPIED
    street.watch(6, lambda picture, t: put(standing(picture, t), cloth(t), 118, 70))
    assert state() is PlaceState.NOT_SEEN
    street.watch(8, standing)
    assert state() is PlaceState.OCCUPIED
    left_s = street.time_s
    street.watch(10)
    seen, since_s = street.view.place(EVERYWHERE, PLACE, MIN_AREA)
    assert seen is PlaceState.CLEAR
    assert left_s - 1 <= since_s <= left_s + 4
    assert street.items(0) == ()


def test_a_ghost_is_learned_again():
    """A parked thing that stood in the reference leaves: its place is no item."""
    street = Street(StillScene(LEARN_S), pavement())
    street.watch(20, standing)
    for _ in range(60):
        street.watch(1)
        assert street.items(DWELL_S) == ()
    street.watch(30, standing)
    assert len(street.items()) == 1


def test_another_view_is_no_item(street):
    other = pavement(77)[::-1, ::-1]
    street.watch(30, lambda *_: other)
    assert street.view.disturbed
    assert street.view.place(EVERYWHERE, PLACE, MIN_AREA)[0] is PlaceState.NOT_SEEN
    street.watch(15)
    assert not street.view.disturbed
    assert street.items(0) == ()


def test_people_in_the_reference_leave_no_item():
    street = Street(StillScene(LEARN_S), pavement())
    rng = np.random.default_rng(4)
    sway = rng.integers(-2, 3, 200)
    street.watch(16, lambda picture, t: person(int(sway[t]))(picture))
    for _ in range(60):
        street.watch(1)
        assert street.items() == ()


def test_the_memory_survives_a_restart(street, tmp_path):
    began_s = street.time_s
    street.watch(15, standing)
    path = tmp_path / "scene.npz"
    street.scene.save(path)
    street.scene = StillScene.load(path, LEARN_S)
    street.watch(15, standing)
    (found,) = street.items()
    assert found.since_s <= began_s + 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", None])
def test_a_damaged_memory_is_told(street, tmp_path, damage):
    path = tmp_path / "scene.npz"
    street.scene.save(path)
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(Exception) as fault:  # noqa: PT011 - the runner catches exactly these
        StillScene.load(path, LEARN_S)
    import zipfile  # noqa: PLC0415 - only for the next line

    assert isinstance(fault.value, OSError | ValueError | KeyError | EOFError | zipfile.BadZipFile)


def test_a_place_learned_while_something_stood_there_is_never_called_clear(street):
    street.scene.distrust((PLACE,))
    street.watch(30)
    assert street.view.place(EVERYWHERE, PLACE, MIN_AREA)[0] is PlaceState.NOT_SEEN


def luma(picture):
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.25])
def test_the_network_answers_to_things_and_not_to_light(gain):
    ground = pavement()
    assert comparer().compare(luma(ground * gain), luma(ground)).any.mean() < 0.01
    changed = comparer().compare(luma(standing(ground, 0) * gain), luma(ground))
    inside = zone_mask([(0.4, 0.5), (0.525, 0.5), (0.525, 0.7), (0.4, 0.7)], changed.any.shape)
    assert changed.thing[inside].mean() > 0.7
    assert changed.any[~inside].mean() < 0.03


def test_the_network_tells_what_came_from_what_went():
    ground = pavement()
    gone = comparer().compare(luma(ground), luma(standing(ground, 0)))
    assert gone.gone.max() > 0.9
    assert gone.thing.max() < 0.3


def test_a_shadow_is_no_thing():
    ground = pavement()
    shade = ground.copy()
    shade[60:140, 100:220] *= 0.6
    assert (comparer().compare(luma(shade), luma(ground)).any > 0.5).mean() < 0.005


def test_what_is_learned_later_is_laid_in_in_the_light_of_its_surroundings():
    """Somebody moves about while the place is learned; they leave when a shadow lies over that side of the street."""
    shade = 1 - 0.4 / (1 + np.exp((np.arange(WIDTH, dtype=np.float32) - 190) / 10))
    street = Street(StillScene(LEARN_S), pavement())
    street.watch(14, lambda picture, t: put(picture, cloth(t)[:36, :40]))
    street.watch(30, lambda picture, _: picture * shade)
    laid_in = street.scene.reference[94:122, 132:164].astype(np.float32)
    assert street.view.sure.all()
    assert np.abs(laid_in - street.ground[94:122, 132:164]).mean() < 8
    street.watch(10)
    assert not street.items(3.0)


@pytest.mark.parametrize("every_s", [1, 15])
def test_a_place_is_clear_for_as_long_as_it_is_seen_clear_at_any_rate(every_s):
    street = Street(StillScene(LEARN_S), pavement())
    for _ in range(20):
        street.watch(1)
        street.time_s += every_s - 1
    since_s = street.time_s
    for _ in range(20):
        street.watch(1)
        street.time_s += every_s - 1
    state, clear_since_s = street.view.place(EVERYWHERE, PLACE, MIN_AREA)
    assert state is PlaceState.CLEAR
    assert clear_since_s <= since_s


def test_a_thing_beside_somebody_who_sways_is_found(street):
    rng = np.random.default_rng(4)
    sway = rng.integers(-2, 3, 200)
    for _ in range(45):
        street.watch(1, lambda picture, t: put(put(person(int(sway[t]))(picture), crate(), 162, 94), crate(5), 162, 58))
    (found,) = street.items()
    assert iou(found.box, (162 / 320, 58 / 180, 40 / 320, 72 / 180)) > 0.5


def test_somebody_who_passes_a_clear_place_does_not_start_it_anew(street):
    street.watch(30, standing)
    left_s = street.time_s
    for second in range(40):
        hides = second % 13 == 12
        street.watch(
            1,
            lambda picture, _, hides=hides: (
                put(picture, np.full((70, 60), 30, np.float32), 118, 70) if hides else picture
            ),
        )
    state, since_s = street.view.place(EVERYWHERE, PLACE, MIN_AREA)
    assert state is PlaceState.CLEAR
    assert left_s - 1 <= since_s <= left_s + 8


def test_a_detector_that_sees_a_person_on_a_look_time_and_again_makes_it_one(street):
    box = (200 / 320, 70 / 180, 22 / 320, 60 / 180)
    for second in range(60):
        street.watch(1, lambda picture, _: person(0)(picture), hidden=(box,) if second % 2 == 0 else ())
        assert street.items() == ()


def test_what_an_operator_approves_is_clear(street):
    street.watch(30, standing)
    assert len(street.items()) == 1
    assert street.scene.approve(EVERYWHERE)
    street.watch(10, standing)
    assert street.items(0) == ()
    assert street.view.place(EVERYWHERE, PLACE, MIN_AREA)[0] is PlaceState.CLEAR


def test_what_is_learned_again_takes_what_stays(street):
    street.scene.relearn(EVERYWHERE)
    assert street.watch(3, standing).learned_share(EVERYWHERE) < 0.2
    street.watch(int(LEARN_S) + 12, standing)
    assert street.view.learned_share(EVERYWHERE) > 0.9
    assert street.items(0) == ()


def test_a_look_of_another_part_of_the_day_is_taken_up_again(street, tmp_path):
    """At night another light shows other things; by day the old look is there, also after a restart."""
    by_night = pavement(31)
    day, night = street.ground, by_night
    street.time_s += PART_S
    street.watch(15)
    assert not street.view.disturbed
    street.ground = night
    street.watch(15)
    assert street.view.disturbed
    street.scene.reset()
    street.watch(30)
    assert not street.view.disturbed
    street.time_s += PART_S
    street.watch(15)
    path = tmp_path / "scene.npz"
    street.scene.save(path)
    street.scene = StillScene.load(path, LEARN_S)
    street.ground = day
    street.watch(15)
    assert street.view.disturbed
    assert street.scene.recall(luma(day))
    assert not street.scene.recall(luma(pavement(5)))
    street.watch(30)
    assert not street.view.disturbed
    assert street.items(0) == ()
    street.watch(30, standing)
    assert len(street.items()) == 1
