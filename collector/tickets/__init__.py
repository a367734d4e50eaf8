"""The life of a ticket.

Comes in: an incident after each of its messages. Goes out: changes of tickets and lines of their time lines, in the
caller's transaction. A ticket has a key, (rule, shop) or (rule, box, camera, zone) where there is no shop; at most one
is open per key; incidents join it; it is clear when all its incidents are. No person acts on a ticket yet, so the two
states are `pending_review` and `lapsed`.
"""
