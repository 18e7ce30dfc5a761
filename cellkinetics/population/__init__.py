"""Populations: parameters that vary between patients, fitted on the samples of all of them.

It may import `sampling`, `joint`, `fitting`, `statistics` and what stands below them.
"""
