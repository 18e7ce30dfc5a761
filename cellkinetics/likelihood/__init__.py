"""How likely samples are about a curve: error models, samples beyond a limit, information criteria.

Numbers in, numbers out: no model, no study. It may import `errors`, `words` and `arrays` alone.
"""
