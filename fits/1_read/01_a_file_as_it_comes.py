"""
A file as it comes
==================

A sheet from a laboratory has values below the limit as text, samples before the infusion, a column for the response and
a patient whose follow-up ended early. It is read as it is; what was left out is counted, with the reason. The numbers
are **made up** for this page.
"""

# %%
# The sheet
# ---------
# Copies per microgram of genomic DNA: ``<3`` and ``BLQ`` lie below the lower limit of quantification, an empty cell is
# no sample. Column names are found by their synonyms.

import tempfile
from pathlib import Path

import cellkinetics as ck

file = Path(tempfile.mkdtemp()) / "sheet.csv"
file.write_text("""\
Patient,Day,Copies per ug,Cohort,Dose,Best response,SIMULATED
A-01,0,0,low,1e5,CR,1
A-01,3,96,low,1e5,CR,1
A-01,7,2150,low,1e5,CR,1
A-01,14,4030,low,1e5,CR,1
A-01,28,121,low,1e5,CR,1
A-01,90,11,low,1e5,CR,1
A-01,180,<3,low,1e5,CR,1
A-02,0,0,low,1e5,PD,1
A-02,3,310,low,1e5,PD,1
A-02,7,880,low,1e5,PD,1
A-02,14,,low,1e5,PD,1
A-02,28,BLQ,low,1e5,PD,1
B-01,0,0,high,1e7,PR,1
B-01,3,5200,high,1e7,PR,1
B-01,7,98000,high,1e7,PR,1
B-01,14,21500,high,1e7,PR,1
B-01,28,300,high,1e7,PR,1
B-01,90,140,high,1e7,PR,1
""")
study = ck.read_study(file, lloq=3)
print(study)

# %%
# What was left out, and why
# --------------------------
# The samples of day 0 were taken before the infusion. Read as "below the limit" they would pull the curve down on the
# day of the dose.

study.exclusions

# %%
# A patient, a group, a part
# --------------------------
# A study is a collection of its patients, and any covariate selects.

print(len(study), list(study))
print(study.select(cohort="low").counts)

# %%
# The samples as they will be fitted: open triangles lie below the limit.

ax = study.plot()
