"""The box itself: who it is (`identity`), what time it has (`clock`), where it writes (`state`), how
busy it is (`load`).

Comes in: the state folder, the kernel's words on clock and boot. Goes out: plain values that others are given.
"""
