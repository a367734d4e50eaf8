"""People and what they may do.

Comes in: names, passwords, codes, tokens. Goes out: an `Actor` with its roles by street, and rows of the audit log.
Every change at the center has one as its author; there are also actors that are no people: a policy, a camera, a shop.
"""
