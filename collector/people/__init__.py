"""People and what they may do.

Comes in: names, passwords, codes, tokens. Goes out: an `Actor` with its roles by street, and rows of the audit log.
Every change at the center has one as its author; there are also actors that are no people: a policy, a camera, a shop.
`rights` is the table of who may do what, `roster` the people, `signing` how they sign in (`passwords`, `totp`,
`lockout`, `sessions`, `sso`), `tokens` what programs sign in with, `audit` the chained log.
"""
