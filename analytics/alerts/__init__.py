"""Alerts, pure: what is watched and when it is told. No clock, no disk, no network.

A `Rule` says what is asked and which levels count; a `Sample` is one measured answer; `evaluate` makes of both, and of
the `State` before, the state now and its reason. `muting` says who need not hear of it, `grouping` when they hear.
"""
