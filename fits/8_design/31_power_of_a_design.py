"""
How many patients show that the dose matters?
=============================================

Three patients a dose are what a first study has. ``ck.power`` simulates such studies and asks of each what
``ck.compare_cohorts`` asks: how often is a dose effect found, and how often can one say that there is none? Everything
here is **simulated**.
"""

# %%
# What is known: a small study
# ----------------------------
# The spread between patients comes from those that there are: here the eleven of the example, each fitted alone.

import matplotlib.pyplot as plt
import numpy as np

import cellkinetics as ck
from cellkinetics import models

model = models.load("stein_2019_tisagenlecleucel")
fits = ck.fit_each(model, ck.example(), progress=False)
levels = fits.parameters.query("parameter == 'c_max'").set_index("subject")["value"]
within = levels.map(np.log).groupby(ck.example().covariates["cohort"]).std()
print(f"SD of ln c_max within a cohort: {', '.join(f'{value:.2f}' for value in within)}")

# %%
# The design
# ----------
# Three doses, three patients each, eight visits, a limit of 3 copies/µg; the peak rises with the dose as dose^0.5, and
# patients of a dose differ in it by an SD of 1 on the ln scale.

found = ck.power(
    model, [1e5, 1e6, 1e7], [3, 3, 3], [3, 7, 10, 14, 21, 28, 60, 90], effect={"c_max": 0.5}, between={"c_max": 1.0},
    lloq=3.0, patients=[9, 18, 36], studies=100, progress=False,
)  # fmt: skip
print(found.summary())

# %%
# The power over the number of patients:

found.plot()
plt.show()
