"""What a picture means: zones and their limits, and the life of an incident.

Comes in: the still scene's view (`frontage`) or a count of people (`gathering`), once per sample, with its time.
Goes out: a `Change` whenever an incident opens, is updated, clears or ends (`life`); each carries the incident's whole
new state and says which pictures prove it. Nothing here reads a clock, a file or a frame.
"""
