"""Accuracy, measured on staged scenes and real footage.

Comes in: seeds, and the shared data where it is at hand. Goes out: figures (`accuracy.json`), a ratchet for later work.
`python -m tests.eval` runs everything (`make eval`); the tests beside it run the short form on scenes rendered from
nothing.
"""
