"""Things that break, on purpose: `make faults` runs all of it and writes `figures.json`, pytest runs a short form.

Each module breaks one kind of thing and returns figures; `books` compares what boxes were told is stored with what the
center has, `scribe` makes incidents the way a box does, `proxy` is a network that can be cut.
"""
