"""Every picture, and how it looks.

Figures compute nothing that a table does not give. It may import `cohorts` and what stands below it.
"""
