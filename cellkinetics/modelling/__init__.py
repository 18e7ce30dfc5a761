"""What a model is: parameters with units and sources, equations, doses, priors; how one is read from a file and described.

It solves nothing. It may import `data` and what stands below it.
"""
