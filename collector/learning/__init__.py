"""What verdicts teach.

Comes in: tickets that people judged, the messages of their incidents, reasons of false alarms. Goes out: statistics of
zones (`statistics`), another dwell or area tried on past alerts (`replay`), suggested (`suggestions`) and accepted as
settings that a box is to have (`acceptance`), and pictures with labels to train a detector on (`dataset`).
"""
