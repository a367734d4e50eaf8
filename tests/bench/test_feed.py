"""Two hundred open pages: what they cost the collector. How fast they are told is printed, as this machine has it."""

import json

from tests.bench import feed


def test_two_hundred_pages_cost_little_memory_and_all_are_told():
    figures = feed.run(alerts=2)
    print(json.dumps(figures))
    assert figures["more_bytes"] <= feed.MOST_BYTES
