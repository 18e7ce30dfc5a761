"""Every picture, and how it looks.

Figures compute nothing that a table does not give. It may import `cohorts`, `joint`, `fitting` and what stands below them.
"""
