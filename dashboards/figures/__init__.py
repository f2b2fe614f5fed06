"""What pages draw: functions from answers of `analytics.questions` to plain data, and from that to figures.

A module for each page. Data come first, as NamedTuples that tests look at; a figure is made from them alone.
"""
