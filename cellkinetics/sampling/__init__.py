"""Patients at parameters of their own: their likelihood as programs take it, its derivatives, and chains over it.

It knows no population but through the numbers that it is given. It may import `optimising` and what stands below it.
"""
