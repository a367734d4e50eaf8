"""Where frames come from: RTSP, USB and files.

Comes in: a `Source` (address, credentials, masks, how often to look). Goes out: `Frame`s with the masks already burnt
in, and the camera's `Condition`.

Each camera is read by a process of its own (`child`, which runs `decoding`): a stalled camera hangs FFmpeg for a minute
or for ever, and a broken stream may crash it. A `nursery`, which has FFmpeg loaded, forks them. `reader` is the
parent's side: it reads the child's pipe under a deadline, kills it and starts it again with a back-off. `wire` is what
the pipes carry; pictures lie in a `ring` of shared memory. `hardware` decodes all frames where a box has any. A
`substream` is read as well where the main stream's key frames are too few. Against that stream flows one value, a
rule's `Demand`.
"""
