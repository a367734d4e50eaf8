"""Getting it out: nothing is lost between the box and the center's database.

Comes in: what the reporter commits, messages and pictures ready to be sent. Goes out: MQTT v5 publishes.

`outbox` is the box's memory on disk: open incidents, and everything that the center has not yet said to have committed.
`session` is the one connection: it keeps a bounded window in flight, sends again what stays unanswered, and says by its
last will when the box is gone. A broker's acknowledgement is not delivery; only the center's own is.
"""
