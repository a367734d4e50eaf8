"""Proof: pictures of an incident's place, with faces masked before they are written anywhere.

Comes in: a frame's colours, the incident's place, boxes of people. Goes out: `Picture`s, JPEG with the record that the
reporter seals.

`masking` hides people, of whom `faces` finds some; `pictures` cuts views and keeps to the size that the line bears;
`memory` remembers what the place looked like when it was clear.
"""
