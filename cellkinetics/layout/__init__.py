"""How a table is laid out: text, workbooks, packed files; dates, visits, spellings of patients, two ends.

It knows no limits and no doses: what becomes of a table is `data`. It may import `meaning`, which says what a cell or
a heading means, and what stands at the root below it: `errors`, `arrays`, `words`.
"""
