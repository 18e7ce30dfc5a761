"""What a fit predicts: its study simulated again beside the samples, and the course of one more patient.

It may import `population`, `joint`, `fitting`, `statistics` and what stands below them.
"""
