"""Exact rank tests, censored regression, medians and dose exponents of a few values: arrays in, numbers out.

It knows no study and no model. It may import `errors`, `domains`, `arrays` and `words` alone.
"""
