"""Many boxes without cameras, for trying out a center: `cityeye-collector simulate --boxes 200`.

Goes out: the real protocol, as `protocol` writes it, over one MQTT v5 session a box; comes in: acknowledgements. `box`
is what one box makes and still has to send, without any network; `fleet` connects thousands of them in one process.
"""
