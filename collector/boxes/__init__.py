"""The fleet: who a box is, how it gets and loses its certificate, and what the broker lets it do.

`authority` is the center's CA, `register` what the database knows of boxes, claims and certificates, `enrolment` what
is answered to a box that asks for a certificate and `door` the HTTPS listener that it asks at, `labels` what is
printed, `broker_files` what mosquitto reads, `revocation` how a box is put out at once, `trial` the proof that a
running broker holds all of it. `commands` is their command line.

`orders` are commands to a box and their replies, `wanted` its settings as the center wants and the box reports them,
`rollouts` are detectors and which boxes get them or `systems` when, `dispatch` sends all of it, `desk_commands` is
their command line. `changes` are what people do with any of it, on record; `counter` is what pages need of the CA for
that.
"""
