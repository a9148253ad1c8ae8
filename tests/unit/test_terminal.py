"""Tables and amounts of time on a terminal."""

import pytest

from weightscape.messages.terminal import align, format_time


def test_columns_are_as_wide_as_their_widest_cell():
    lines = [["model", "n", "from"], ["dnn", "1,000", ""], ["a", "", "b"]]
    assert align(lines, left={0, 2}) == ["model      n  from", "dnn    1,000", "a             b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 days"),
        (1e9, "11,574 days"),
    ],
)
def test_time_is_in_the_largest_unit_of_which_there_are_two(seconds, text):
    assert format_time(seconds) == text
