"""Pictures at the center: files under their SHA-256, written before the row that names them is committed.

Comes in: a JPEG that the inbox has checked. Goes out: the same bytes, or a preview for a page. What left the box is
kept as it is; nothing is drawn on it, and an unmasked picture has never existed here.
"""
