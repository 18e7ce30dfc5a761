"""From a file to a `Study`: samples with their limits, doses, covariates, and a study as text again.

It knows no model. It may import `layout`, `meaning` and what stands at the root below it: `errors`, `arrays`, `words`.
"""
