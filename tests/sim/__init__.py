"""A street's day on a simulated clock, through the real database and the real code.

Comes in: how many incidents, and a seed. Goes out: figures, and a fault for everything that was forgotten, told twice,
or done before its time.
"""
