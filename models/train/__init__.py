"""How the project's own networks were made, so that anyone can make them again or better, on footage of their own.

Comes in: folders of photos, in the layouts that the modules name. Goes out: ONNX files for `models/catalogue/own`, each
with its card. Needs torch (extra `models`); never imported by a box or a center. Run as modules:

- `change`: tells things from light, on pairs that are made up (`pairs`).
- `heads`: counts crowds, on photos in which every head is marked.
- `persons`: the shipped detector of people (`detector`, `assignment`), on photos (`photos`, `views`, `props`) that
  people, or detectors that exist (`teachers`), have labelled.
- `coarse`: fewer bits for any of them, with hardly another answer.
"""
