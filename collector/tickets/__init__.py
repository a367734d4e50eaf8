"""The life of a ticket.

Comes in: an incident after each of its messages (`book`), and what people do (`desk`). Goes out: changes of tickets and
lines of their time lines, in the caller's transaction; orders of notices and questions to boxes. A ticket has a key,
(rule, shop) or (rule, box, camera, zone) where there is no shop; at most one is open per key; incidents join it; its
place is clear when all its incidents are. `machine` is the table of states and verbs, `policy` what a street wants,
`advance` what follows from facts by itself, and `timekeeper` the thread that asks it when it is time.
"""
