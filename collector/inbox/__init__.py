"""From MQTT into the database, exactly once.

Comes in: publishes of all boxes. Goes out: rows, picture files, and to each box an acknowledgement of what was
*committed*. `session` holds the connection, `writer` gathers deliveries and commits them in batches on one thread,
`intake` decides on each: stored, refused for good, or later. Ids of messages and pictures are primary keys, so that
what comes twice is stored once.
"""
