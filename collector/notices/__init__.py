"""Telling people: shops, the community, officers, operators, and the rooms that they sit in.

Comes in: a `NoticeOrder` in the transaction that decided on it. Goes out: messages over channels (SMS, voice, chat
robots, e-mail, loudspeakers, MQTT), what became of each, and a page for the shop. `orders` is the door for other
rooms; `sender` is the thread that sends; `pages` is the listener of the shops. Nothing is sent twice by itself: where
nobody knows whether a message went out, its notice is `unsure`, and a person or another channel goes on.
"""
