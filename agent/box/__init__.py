"""The box itself: who it is, what time it has, where it writes, how busy it is.

Comes in: the state folder, the kernel's words on clock and boot. Goes out: plain values that others are given.
"""
