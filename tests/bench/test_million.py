"""What a page costs must not grow with what is in the database: 20,000 tickets beside 2,000, by what is computed."""

import json

from tests.bench import million

MANY, FEW = 20_000, 2_000
MOST = 3.0
"""Times as much; ten times the tickets. A month's indicators are of the ten times as many tickets of that month."""
QUICK_MS = 20.0
"""Below it nothing is said: it may be anything else."""


def test_ten_times_the_tickets_do_not_make_pages_slow(tmp_path):
    found = {}
    for tickets in (FEW, MANY):
        folder = tmp_path / str(tickets)
        folder.mkdir()
        found[tickets] = million.run(f"sqlite:///{folder / 'center.db'}", folder, tickets, calls=15)["routes"]
    print(json.dumps(found))
    slow = {
        name: (found[FEW][name]["computed_p50_ms"], one["computed_p50_ms"])
        for name, one in found[MANY].items()
        if one["computed_p50_ms"] > max(QUICK_MS, MOST * found[FEW][name]["computed_p50_ms"])
    }
    assert slow == {}
