"""The optimum of one problem and of many: samples made ready, starts, the compiled loop, Newton steps, bounds, spread.

It names no result of the user's. It may import `solving`, `likelihood`, `modelling` and what stands below them.
"""
