"""Posteriors of populations: priors of all that is estimated, two samplers of one target, and whether chains mixed.

It may import `population`, `joint`, `fitting`, `statistics` and what stands below them.
"""
