"""Doses, or groups, given to other patients of a population, each arrangement with its own maximum.

It may import `population` and what stands below it.
"""
