"""Modules are found by the names that they had before there were rooms."""

import pytest

import cellkinetics as ck
from cellkinetics.fitting import bootstrap
from cellkinetics.reporting import output


def test_a_module_that_moved_into_a_room_is_found_with_a_warning_that_says_where():
    with pytest.warns(DeprecationWarning, match="cellkinetics.output is cellkinetics.reporting.output now"):
        assert ck.output is output
    with pytest.warns(DeprecationWarning, match=r"cellkinetics.fitting.bootstrap now"):
        from cellkinetics import bootstrap as found
    assert found is bootstrap


@pytest.mark.parametrize("name", ["fitt", "_private", "__wrapped__"])
def test_what_was_never_there_is_not(name):
    with pytest.raises(AttributeError, match=name):
        getattr(ck, name)
    assert not hasattr(ck, name)
