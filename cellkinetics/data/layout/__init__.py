"""How a table is laid out: packed files and workbooks, names of visits, spellings of patients, two ends, units."""
