"""The one table of names, and the docs that print it."""

import re
from pathlib import Path

from cellkinetics.layout.agreement import VISITS
from cellkinetics.layout.dates import DATES, INFUSION_DATES
from cellkinetics.layout.ends import ENDS_BY_NAME
from cellkinetics.layout.series import COURSES, PLACES
from cellkinetics.layout.weights import WEIGHTS
from cellkinetics.meaning.synonyms import IN_WORDS, MEANING, SYNONYMS, TIME_UNITS, plain

DOCS = Path(__file__).parents[2] / "docs" / "data.rst"


def test_the_docs_print_every_name_of_every_meaning():
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"\* - ``(\w+)``\n     - [^\n]*\n     - (.*?)(?=\n   \* -|\n\n)", text, re.DOTALL))
    printed = {meaning: tuple(re.sub(r"\s", "", names).split(",")) for meaning, names in rows.items()}
    assert printed == SYNONYMS


def test_the_docs_print_every_name_that_other_steps_read():
    text = DOCS.read_text(encoding="utf-8")
    table = text[text.index("Other steps of the reading") :].split("The mass of DNA")[0]
    rows = re.findall(r"\* - (?!What)[^\n]*\n     - (.*?)(?=\n   \* -|\n\n)", table, re.DOTALL)
    printed = [set(re.sub(r"\s", "", names).split(",")) for names in rows]
    ends = {name for pair in ENDS_BY_NAME for name in pair}
    assert printed == list(map(set, (DATES, INFUSION_DATES, VISITS, TIME_UNITS, WEIGHTS, ends, COURSES, PLACES)))


def test_every_meaning_is_explained_and_no_name_has_two():
    assert set(IN_WORDS) == set(SYNONYMS)
    assert len(MEANING) == sum(map(len, SYNONYMS.values()))


def test_names_are_written_as_headings_are_compared():
    assert all(name == plain(name) for name in MEANING)
