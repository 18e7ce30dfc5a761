"""Pictures of tables: estimates, areas and effects by group, where `figures` has those of curves.

A chart computes nothing that a table does not give. It may import `figures` and what stands below it.
"""
