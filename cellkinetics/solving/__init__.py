"""From parameters and doses to curves and their derivatives: steppers, segments, and the structured solve of one model.

The one place where a model is solved. It may import `likelihood`, `modelling` and what stands below them.
"""
