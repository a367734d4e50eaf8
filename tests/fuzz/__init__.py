"""Fuzzing of everything that reads what others wrote: `make fuzz SECONDS=600`, in a short form by pytest.

`targets` lists the decoders with inputs to begin with; `child` runs them under atheris (guided by coverage)
or replays what was found, looking at the memory; the package itself runs them all.
"""
