import hashlib
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import cli, models
from cellkinetics.cli.asked import Fitting, Reading, command
from cellkinetics.errors import one_problem
from cellkinetics.figures import fits as fits_plot
from cellkinetics.reporting import output, report

SCRIPT = "<script>alert(1)</script>"
ODD = [SCRIPT, "=cmd()", '"><img src=x onerror=alert(2)>']
DAYS = [0.1, 0.5, 1, 2, 3, 4, 7, 12]
COPIES = ["380", "190", "95", "31", "18", "12", "8", "<3"]
PNG = b"\x89PNG page"


class Tags(HTMLParser):
    """Tags with their attributes, and the text outside of them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are closed in their order"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def patients(names=("A", "B"), simulated=False):
    table = pd.concat(
        [pd.DataFrame({"subject": name, "day": DAYS, "copies_per_ug": COPIES, "dose": 1e6}) for name in names]
    )
    # The last one is below the limit throughout, and cannot be fitted.
    table.loc[table["subject"] == names[-1], "copies_per_ug"] = "<3"
    study = ck.read_study(table.assign(cohort="low"), lloq=3.0)
    return replace(study, note="Simulated data, seed 1") if simulated else study


def fitted(study):
    return ck.fit_each(models.load("nk_decline"), study, starts=1, seed=7, progress=False)


@pytest.fixture(scope="module")
def fits():
    return fitted(patients())


@pytest.fixture(scope="module")
def page(fits):
    origin = report.Origin("cellkinetics fit 'my table.csv' --seed 7", "my table.csv", "ab" * 32)
    return report.page(fits, [PNG], origin)


def test_what_needs_a_look_stands_first(page):
    text = Tags(page).text
    assert "1 of 2 fits needs a look" in text
    assert text.index("1 of 2 fits needs a look") < text.index("The study") < text.index("Outcomes")
    look = re.search(r'<section class="look".*?</section>', page, re.DOTALL)
    assert look
    assert '<a href="#patient-2">B</a>: ' in look[0]
    assert "no quantified sample" in look[0]


def test_when_all_fits_converged_it_says_so(fits):
    only = fitted(fits.study.select(subjects="A"))
    assert only["A"].converged
    page = report.page(only, [PNG])
    assert "The fit converged." in page
    assert "needs a look" not in Tags(page).text


def test_every_patient_has_a_section_and_links_lead_to_it(fits, page):
    tags = Tags(page).tags
    sections = {attrs["id"]: attrs for tag, attrs in tags if tag == "details" and "id" in attrs}
    assert list(sections) == ["patient-1", "patient-2"]
    assert "open" in sections["patient-2"], "who needs a look is not folded away"
    assert "open" not in sections["patient-1"]
    targets = {attrs["href"] for tag, attrs in tags if tag == "a" and attrs["href"].startswith("#")}
    assert targets == {"#patient-1", "#patient-2"}
    for subject in fits:
        assert f"<summary><b>{subject}</b>" in page


def test_parameters_have_values_units_and_sources(fits, page):
    table = fits["A"].parameters
    assert f'<th scope="row">F</th><td class="n">{report.number(table.loc["F", "value"])}</td>' in page
    assert "copies/ug per cell/kg" in page
    for source in table["source"]:
        assert report.linked(source) in page


def test_it_needs_no_other_file_and_no_network(page):
    for tag, attrs in Tags(page).tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert not [name for name in attrs if name.startswith("on")]
        if "src" in attrs:
            assert attrs["src"].startswith("data:image/png;base64,")
        if "href" in attrs:
            assert attrs["href"].startswith(("#", "https://doi.org/"))
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_it_says_what_makes_it_again(page):
    text = Tags(page).text
    assert "cellkinetics fit 'my table.csv' --seed 7" in text
    assert "ab" * 32 in text
    assert re.search(r"seed\s*7 \(1 start a patient\)", text)
    for name in ("cellkinetics", "jax", "lmfit", "numpy", "scipy", "pandas", "python"):
        assert f"{name} {report.versions()[name]}" in text
    assert report.versions()["cellkinetics"] == ck.__version__


def test_without_an_origin_the_hash_is_not_known(fits):
    assert "not known" in Tags(report.page(fits, [PNG])).text


def test_what_the_data_say_is_text_and_nothing_else():
    study = patients(ODD)
    covariates = study.covariates.assign(cohort=SCRIPT)
    observations = study.observations.assign(
        excluded=study.observations["excluded"].mask(study.observations["day"] == 12, f"after day 9: {SCRIPT}")
    )
    study = replace(study, covariates=covariates, observations=observations, note=SCRIPT, source=SCRIPT)
    page = report.page(fitted(study), [PNG], report.Origin(SCRIPT, SCRIPT, ""))
    plain = Tags(page)
    assert "script" not in [tag for tag, _ in plain.tags]
    assert "<script" not in page
    assert [attrs["src"] for tag, attrs in plain.tags if tag == "img" and not attrs["src"].startswith("data:")] == []
    assert not any("onerror" in attrs for _, attrs in plain.tags)
    for name in ODD:
        assert name in plain.text
    plt.close("all")


def test_a_simulated_study_is_said_to_be_one():
    study = patients(simulated=True)
    page = report.page(fitted(study), [PNG])
    assert '<p class="simulated">Simulated patients: no measurements of anybody.</p>' in page
    assert "(simulated)</title>" in page


def test_a_measured_study_is_not(page):
    assert "simulated" not in Tags(page).text.lower()


def test_counts_of_samples_say_what_was_left_out():
    study = patients(("A", "B")).select(until=5)
    page = report.page(fitted(study), [PNG])
    # 6 of 8 samples are on day 4 or before.
    row = re.search(r'<tr><th scope="row">A</th>(<td class="n">.*?)</tr>', page)
    assert row
    assert re.findall(r'<td class="n">(\d+)</td>', row[1]) == ["6", "0", "0", "0", "6", "2"]
    assert "2 after day 5: select(until=5)" in row[1]


def test_what_was_fixed_is_listed_with_its_reason_and_for_whom(fits):
    study = patients()
    page = report.page(ck.fit_each(models.load("nk_decline"), study, fixed={"beta": 0.2}, progress=False), [PNG])
    row = re.search(r'<tr><th scope="row">beta</th>.*?</tr>', page)
    assert row
    assert "<td>everybody</td>" in row[0]
    assert "fixed by the user" in row[0]
    # A patient who was not fitted has no sd, and was not short of samples to estimate one.
    assert "too few quantified samples" not in Tags(page).text


def test_of_many_patients_those_who_need_a_look_have_pictures_and_all_have_tables(fits, monkeypatch):
    monkeypatch.setattr(report, "PICTURES", 1)
    page = report.page(fits, [PNG])
    assert 'alt="Samples and fitted curve of B"' in page
    assert 'alt="Samples and fitted curve of A"' not in page
    text = " ".join(Tags(page).text.split())
    assert "Tables for all 2 patients, pictures for 1 of them: those who need a look first." in text
    assert "1 of 2 are larger under" in text
    for subject, place in (("A", 1), ("B", 2)):
        section = page.split(f'id="patient-{place}"')[1].split("<summary>The fit in words")[0]
        assert f"<b>{subject}</b>" in section
        assert "<caption>" in section


def test_several_figures_say_how_many_patients_are_in_each(fits, monkeypatch, tmp_path):
    monkeypatch.setattr(fits_plot, "PER_PAGE", 1)
    output.write(fits, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"fits-1.png", "fits-2.png"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for place in (1, 2):
        assert f"Figure {place} of 2: at most 1 patients each" in page


def test_figures_are_closed(fits):
    plt.close("all")
    report.page(fits, [PNG])
    assert plt.get_fignums() == []


def test_the_command_line_writes_a_report_that_names_its_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"T": DAYS, "subject": "A", "copies_per_ug": COPIES, "dose": 1e6, "lloq": 3})
    table.to_csv("my table.csv", index=False)
    digest = hashlib.sha256((tmp_path / "my table.csv").read_bytes()).hexdigest()
    given = ["fit", "my table.csv", "--model", "nk_decline", "--columns", "day=T", "--fixed", "beta=0.2", "sd=0.4"]
    assert run([*given, "--out", "one"]) == 0
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert digest in page
    command = re.search(r"cellkinetics fit .*--seed 2020", Tags(page).text)
    assert command
    words = shlex.split(command[0])
    assert words == ["cellkinetics", *given, "--seed", "2020"]
    # The command makes it again.
    assert run([*words[1:], "--out", "two"]) == 0
    for name in ("parameters.csv", "predictions.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_command_leaves_out_what_is_usual():
    assert command("fit", None, Reading(), Fitting(), model=None) == "cellkinetics fit --seed 2020"
    asked = Reading(lloq=3.0), Fitting(free=["F", "a b"], pool_sd=True, seed=1)
    assert command("fit", None, *asked) == "cellkinetics fit --lloq 3 --free F 'a b' --pool-sd --seed 1"


def run(arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    return stopped.value.code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "–"), (np.inf, "∞"), (-np.inf, "−∞"), (0.0, "0"), (0.00020713, "0.0002071"), (7.77e-5, "7.77e-05"),
        (-48.9234, "-48.92"), (41160.1, "41,160"), (123456.0, "123,500"), (7.63e11, "7.63e+11"), (3.0, "3"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits(value, text):
    assert report.number(value) == text


def test_a_doi_is_a_link_and_all_else_is_text():
    link = '<a href="https://doi.org/10.1002/psp4.12388">doi:10.1002/psp4.12388</a>'
    assert report.linked("Stein 2019, doi:10.1002/psp4.12388.") == f"Stein 2019, {link}."
    assert report.linked("<b> & doi:10.1/x") == "&lt;b&gt; &amp; doi:10.1/x"
    assert report.linked('doi:10.1002/a"onclick="x') == (
        '<a href="https://doi.org/10.1002/a">doi:10.1002/a</a>&#34;onclick=&#34;x'
    )


@pytest.fixture(scope="module")
def cohorts():
    return ck.fit_each(models.load("nk_decline"), ck.example(), starts=1, progress=False)


def test_the_report_answers_the_dose_question_and_shows_what_was_measured(cohorts):
    page = report.page(cohorts, [])
    assert "<h2>Does the dose matter?</h2>" in page
    assert "The peak rises with the dose (p = 0.0005)" in page
    assert "What was measured, without a model" in page
    assert 'href="#patient-5">P05</a></th><td class="short">1e6/kg</td><td class="n">27,700</td>' in page


def test_a_report_of_one_dose_compares_nothing(cohorts):
    study = cohorts.study.select(cohort="1e7/kg")
    page = report.page(replace(cohorts, study=study, by_subject={name: cohorts[name] for name in study}), [])
    assert "Does the dose matter?" not in page
    assert "What was measured, without a model" in page


def test_a_report_of_several_outputs_says_where_each_is_measured():
    one = pd.DataFrame({"subject": "A", "day": DAYS, "copies_per_ug": COPIES, "dose": 1e6, "output": "copies"})
    both = pd.concat([one, one.assign(output="cells")])
    study = ck.read_study(both.assign(SIMULATED=1), columns={"output": "output"}, lloq=3.0)
    fits = fitted(patients(("A",)))
    text = " ".join(Tags(report.page(replace(fits, study=study), [PNG])).text.split())
    assert "The study has 2 outputs, copies, cells: peaks, areas and half-lives of each are not on this page." in text
    assert "The study has" not in report.page(fits, [PNG])


def test_a_report_says_why_there_is_no_analysis_without_a_model(cohorts, monkeypatch):
    def refused(study):
        raise one_problem("subject 'A' <has> no infusion", "Give its day.", study.source)

    monkeypatch.setattr(report, "nca", refused)
    text = " ".join(Tags(page := report.page(cohorts, [PNG])).text.split())
    assert "There is no non-compartmental analysis of this study: " in text
    assert "subject 'A' <has> no infusion. Give its day." in text
    assert "&lt;has&gt;" in page and "What was measured, without a model" in text
    monkeypatch.undo()
    assert "There is no non-compartmental analysis" not in report.page(cohorts, [PNG])


def test_a_report_says_why_values_are_missing(cohorts):
    short = cohorts.study.select(until=8)
    page = report.page(replace(cohorts, study=short), [PNG])
    table = ck.nca(short)
    missing = table["half_life"].isna()
    assert missing.any()
    assert f"half-life, days: no value in {missing.sum()} of {len(table)}: " in page
    assert str(table.loc[missing, "half_life_reason"].mode()[0]) in " ".join(Tags(page).text.split())


def test_a_population_has_a_section_and_its_patients_stand_at_their_modes():
    from populations import line, study_of

    rng = np.random.default_rng(4)
    ln_f = np.log(300) + 0.6 * rng.normal(size=(6, 1)) - 0.1 * np.array([1.0, 7, 14, 21])
    study = study_of(ln_f, np.array([1.0, 7, 14, 21]), 0.3, rng)
    population = ck.fit_population(line(), study, random=["c"], progress=False)
    page = report.page(population.as_fits, [PNG], population=population)
    text = Tags(page).text
    assert text.index("The population") < text.index("The fits")
    assert f"{population.outcome}." in text
    assert "npde: standard normal if the model is right" in text and "NPDE of " in text
    assert "What each patient is to the likelihood" in text
    assert "sd between c" in text and report.number(population.parameters.loc["c", "value"]) in text
    assert "Visual predictive check: 1,000 simulated studies." in text
    assert "The population" not in Tags(report.page(population.as_fits, [PNG])).text
    plt.close("all")
