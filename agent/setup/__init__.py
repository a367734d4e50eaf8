"""The page by which a box is set up, on the local network, in a process of its own; the agent imports nothing of it.

`server` speaks HTTPS within limits, `gate` knows the PIN, `pages` the calls of `static/`, `desk` does them with
`finding`, `watch` and `aim`, and leaves what was drawn to the agent (`agent.box.door`); `mdns` answers for the name.
"""
