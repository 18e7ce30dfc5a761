"""What a model is: parameters with units and sources, equations, doses, priors; how one is read and described.

It solves nothing. It may import `data`, `likelihood` and what stands below them.
"""
