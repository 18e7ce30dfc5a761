"""Cohorts of a study compared, power before the study, and non-compartmental analysis.

It may import `joint`, `fitting`, `statistics` and what stands below them.
"""
