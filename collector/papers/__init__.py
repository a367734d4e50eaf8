"""How the center writes papers: PDF (`pdf`), in a typeface that has Chinese (`typefaces`), and workbooks (`sheet`).

Comes in: texts, tables, figures and JPEG pictures. Goes out: bytes; a PDF made again is the same ones.
Nothing of what papers hold is known here; whoever has something to put down imports this.
"""
