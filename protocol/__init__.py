"""All that a box and the center must agree on.

Comes in: nothing; this package does no I/O of its own but reading a settings file and trying whether a broker answers.
Goes out: topic names (`topics`), messages as pydantic models (`messages`, `pictures`), the settings of cameras and
zones (`settings`), what the center asks of a box (`commands`, `desired`, `sealed`), polygon geometry in picture
coordinates (`geometry`), opening hours (`hours`), identifiers and instants (`ids`, `instants`), the line to the broker
(`broker`), the evidence seal (`seal`), and what both sides tell systemd (`supervision`). `schemas` writes the JSON
Schemas and the AsyncAPI document.

It imports neither side, so that either can be replaced.
"""
