"""What CityEye costs beside what else one might use, on the same footage and in the same run.

In: clips rendered by `footage`, the agent's own bench, `rivals` in an environment of their own. Out: the tables and the
plot of `docs/design/speed.md`, and ratios that CI checks. Nothing here is installed on a box.
"""
