"""Several patients in one fit: shared parameters, what the dose or the cohort drives, and tests of it.

It may import `fitting`, `statistics` and what stands below them.
"""
