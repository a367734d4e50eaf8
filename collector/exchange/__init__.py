"""What is exchanged with other systems of the city.

Comes in: reports of people (`reports`), by the API, a form and Open311. Goes out: reports and their states by Open311
GeoReport v2 (`open311`), events of tickets by webhooks (`webhooks`, sent by `courier`), cases in the field names of the
municipal platform (`municipal`), incidents as ONVIF events over MQTT (`onvif`). What others call things is data: the
tables in `config/codes/`.
"""
