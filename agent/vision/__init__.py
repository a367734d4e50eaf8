"""What is in a frame.

Comes in: a frame's luma (`still`) or colours (`detector`). Goes out: the still scene's view, from which rules read
items and the state of places; detections (boxes, scores, classes); a count of people in a zone (`people`).

`still` is the heart: what stands on the street and was not there when the place was clear, whatever it is called. It
uses `alignment`, `median`, `change` (the network) and `places` (items, states); `naming` names items, `ground` measures
them. `condition` says how well the camera sees, by `signature`, `repeats` and `passing`. `detector` runs an ONNX file;
`layouts` knows the three ways in which such files answer, `letterbox` how a picture is fitted into their input;
`selection` decides which file is used. `counting` chooses how people are counted: by one look (`people`), by several in
`tiles`, by the counter of `crowds`; `stature` knows how tall they are; `tracker` says who is who. `attention` shares
the detector out among the cameras of a box, `novelty` says whether it would see anything new, `window` which part of a
picture it looks at. `runtime` is how networks on the processor are opened. Nothing here knows zones' limits or time
limits.
"""
