"""Fits of one patient and of each: what was asked, what came out, and all that is derived from it.

It may import `optimising` and what stands below it.
"""
