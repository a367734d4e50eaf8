"""How the project's own networks were made, so that anyone can make them again or better, on footage of their own.

Comes in: folders of photos, in the layouts that the modules name. Goes out: ONNX files for `models/catalogue/own`.
Needs torch (extra `models`); never imported by a box or a center. Run as `python -m models.tools.training.change` and
`python -m models.tools.training.heads`.
"""
