"""The live feed: worked out once, told to all, and again to who was away; nothing missed."""

import asyncio
import contextlib
import json

import pytest

from collector.web import live
from collector.web.live import Changes, Cursor, Feed
from tests import incidents
from tests.browser import beside
from tests.incidents import Case


class Reader:
    """A page that reads."""

    def __init__(self, feed, since="", sees=lambda _street: True, cards=""):
        self._events = feed.follow(since, sees, cards)
        self.at, self.tickets = since, []

    async def next(self):
        """Name and data of the next event; heartbeats are passed over."""
        while True:
            text = await asyncio.wait_for(anext(self._events), 10)
            fields = dict(line.partition(": ")[::2] for line in text.splitlines() if line)
            self.at = fields.get("id", self.at)
            if fields.get("event") not in (None, "beat"):
                self.tickets = json.loads(fields["data"]).get("tickets", [])
                return fields["event"], [one["number"] for one in self.tickets]

    async def close(self):
        await self._events.aclose()


def followed(desk, play, cards=lambda _session, _numbers, _language: {}):
    """Play with a feed until it ends by itself."""
    changes, ended = Changes(), []

    async def run():
        feed = Feed(desk.store, changes, lambda: bool(ended), cards)
        readers = []

        def reader(*args, **more):
            readers.append(Reader(feed, *args, **more))
            return readers[-1]

        try:
            await play(reader, changes)
        finally:
            ended.append(True)
            for one in readers:
                with contextlib.suppress(Exception):
                    await one.close()

    beside(run())


async def told(pages, *numbers):
    for page in pages:
        assert await page.next() == ("changed", [*numbers])


def opened(desk, number, **where):
    case = Case(number=number, shop=f"shop-{number}", **where)
    desk.take_any(case.opened())
    return case


def test_all_pages_are_told_once_of_each_change(desk):
    desk.take(incidents.status())

    async def play(reader, changes):
        pages = [reader() for _ in range(3)]
        await told(pages)
        case = opened(desk, 1)
        changes.tell()
        await told(pages, 1)
        desk.take_any(case.picture("at", "close"))
        changes.tell()
        await told(pages, 1)
        opened(desk, 2)
        changes.tell()
        await told(pages, 2)

    followed(desk, play)


def test_a_page_that_was_away_is_told_by_any_collector(desk):
    desk.take(incidents.status())
    at = ""

    async def leave(reader, changes):
        nonlocal at
        page = reader()
        await page.next()
        opened(desk, 1)
        changes.tell()
        assert await page.next() == ("changed", [1])
        at = page.at

    async def come_back(reader, changes):
        page = reader(at)
        # what came just before is told again where several collectors may write at once
        assert await page.next() == ("changed", [1, 2, 3] if desk.store.shared else [2, 3])
        opened(desk, 4)
        changes.tell()
        assert 4 in (await page.next())[1]

    followed(desk, leave)
    opened(desk, 2)
    opened(desk, 3)
    followed(desk, come_back)


def test_what_was_written_without_a_word_is_found(desk, monkeypatch):
    monkeypatch.setattr(live, "LOOK_S", 1.0)
    desk.take(incidents.status())

    async def play(reader, _changes):
        page = reader()
        await page.next()
        opened(desk, 1)
        assert await page.next() == ("changed", [1])

    followed(desk, play)


def test_boards_are_told_cards_made_once_a_language(desk, monkeypatch):
    monkeypatch.setattr(live, "CARDS", 2)
    desk.take(incidents.status())
    made = []

    def cards(_session, numbers, language):
        made.append((language, list(numbers)))
        return {one: f"{language} {one}" for one in numbers if one != 2}

    async def play(reader, changes):
        boards, page = [reader(cards="zh"), reader(cards="zh"), reader(cards="en")], reader()
        for one in (*boards, page):
            await one.next()
        opened(desk, 1)
        opened(desk, 2)
        changes.tell()
        await told([*boards, page], 1, 2)
        # the second waits no more
        assert [[ticket["card"] for ticket in one.tickets] for one in boards] == [["zh 1", None]] * 2 + [["en 1", None]]
        assert all("card" not in ticket for ticket in page.tickets)
        assert sorted(made) == [("en", [1, 2]), ("zh", [1, 2])]
        for number in (3, 4, 5):
            opened(desk, number)
        changes.tell()
        assert await boards[0].next() == ("changed", [3, 4, 5])
        assert all("card" not in ticket for ticket in boards[0].tickets)

    followed(desk, play, cards)


def test_a_page_hears_of_its_own_streets_alone(desk):
    desk.take(incidents.status())
    desk.take(incidents.status(box="box-9", site="elsewhere"))

    async def play(reader, changes):
        mine, theirs = reader(sees=lambda street: street == "s"), reader(sees=lambda street: street == "elsewhere")
        for page in (mine, theirs):
            await page.next()
        opened(desk, 1)
        opened(desk, 2, box="box-9", site="elsewhere")
        changes.tell()
        assert await mine.next() == ("changed", [1])
        assert await theirs.next() == ("changed", [2])

    followed(desk, play)


@pytest.mark.parametrize("since", ["x", "-1-0", "999999999-0", "0-0"])
def test_what_cannot_be_told_makes_a_page_load_itself(desk, monkeypatch, since):
    monkeypatch.setattr(live, "MOST", 1)
    desk.take(incidents.status())
    opened(desk, 1)
    opened(desk, 2)

    async def play(reader, _changes):
        page = reader(since)
        assert await page.next() == ("again", [])
        assert Cursor.read(page.at) is not None

    followed(desk, play)


def test_a_page_that_does_not_read_is_let_go(desk, monkeypatch):
    monkeypatch.setattr(live, "BEHIND", 1)
    desk.take(incidents.status())

    async def play(reader, changes):
        page, quick = reader(), reader()
        await page.next()
        await quick.next()
        for number in (1, 2, 3):
            opened(desk, number)
            changes.tell()
            assert await quick.next() == ("changed", [number])
        # that it ends is what brings it back
        with pytest.raises(StopAsyncIteration):
            [await page.next() for _ in range(5)]

    followed(desk, play)
