"""The page by which a box is set up, on the local network and in a process of its own; nothing imports it.

`server` speaks HTTPS within limits, `gate` lets in who knows the PIN, `pages` knows the calls of the page (`static/`),
`desk` does what they ask for: it claims the box, finds cameras (`finding`), watches one (`watch`, `aim`) and hands
what was drawn to the agent (`agent.box.door`). `mdns` answers for the box's name.
"""
