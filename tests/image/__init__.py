"""The image as a box has it: started in QEMU, claimed by a real center, updated, its power cut; `make image-test`.

`machine.py` is the box's hardware, `center.py` what is around it, `trial.py` the story and its books.
"""
