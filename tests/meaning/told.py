"""What a table is told by `read_study`: the text of its refusal, its warnings, or that it says nothing at all."""

import warnings

import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError, StudyWarning


def refusal(frame, **options):
    """The text of the error with which a table is refused."""
    with pytest.raises(StudyError) as caught:
        read_study(frame, **options)
    return str(caught.value)


def silently(frame, **options):
    """The study of a table that is read without any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_study(frame, **options)


def warned(frame, **options):
    """The text of the warnings with which a table is read."""
    with pytest.warns(StudyWarning) as caught:
        read_study(frame, **options)
    return "\n".join(str(each.message) for each in caught)
