"""Tables, amounts of time and a line of now on a terminal."""

import io
import os
import re

import pytest

from weightscape.messages.terminal import LiveLine, align, format_time, wipe


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


class Terminal(io.StringIO):
    """Of 30 columns."""

    def isatty(self):
        return True

    def fileno(self):
        return 7

    def lines(self):
        """What stands on it: a return goes back, ESC [K wipes the rest of a line."""
        lines, place = [""], 0
        for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", self.getvalue()):
            line = lines[-1]
            if part == "\n":
                lines.append("")
            elif part == "\x1b[K":
                lines[-1] = line[:place]
            elif part != "\r":
                lines[-1] = line[:place] + part + line[place + len(part) :]
            place = 0 if part in "\r\n" else place + len(part) * (part != "\x1b[K")
        return lines


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((30, number)))
    return Terminal()


def test_a_line_of_now_stands_below_all_that_is_written(terminal):
    line = LiveLine(terminal)
    line.show("1 of 9 jobs")
    assert terminal.lines() == ["1 of 9 jobs"]
    line.show("2 of 9")
    assert terminal.lines() == ["2 of 9"]
    line.say("data: done")
    assert terminal.lines() == ["data: done", ""]
    line.show("3 of 9")
    print("Error in rule", end="", file=line)
    line.show("4 of 9")  # another thread, in the middle of a message
    print(" train_runs", file=line)
    assert terminal.lines() == ["data: done", "Error in rule train_runs", ""]
    line.show("4 of 9")
    line.write("")
    line.flush()
    line.show("5 of 9")
    assert terminal.lines()[-1] == "5 of 9"
    assert line.isatty()


def test_another_process_writes_over_the_line_of_now(terminal):
    LiveLine(terminal).show("1 of 9 jobs")
    terminal.write("Traceback (most recent call last)\n")
    assert terminal.lines() == ["Traceback (most recent call last)", ""]


def test_what_ends_a_job_stands_alone(terminal):
    LiveLine(terminal).show("1 of 9 jobs, 5 s left")
    wipe(terminal)
    terminal.write("x is bad\n")
    assert terminal.lines() == ["x is bad", ""]


def test_a_line_of_now_is_never_wider_than_the_terminal(terminal):
    LiveLine(terminal).show("0123456789" * 4)
    assert terminal.lines() == ["01234567890123456789012345678"]


def test_a_terminal_of_unknown_width_shows_all(terminal, monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((0, 0)))
    LiveLine(terminal).show("0123456789" * 4)
    assert terminal.lines() == ["0123456789" * 4]


@pytest.mark.parametrize("kind", ["file", "dumb"])
def test_a_file_has_no_line_of_now(terminal, monkeypatch, kind):
    monkeypatch.setenv("TERM", "dumb")
    stream = terminal if kind == "dumb" else io.StringIO()
    line = LiveLine(stream)
    line.show("1 of 9 jobs")
    line.say("data: done")
    line.show("2 of 9 jobs")
    wipe(stream)
    assert stream.getvalue() == "data: done\n"
    assert not line.is_live


def test_a_terminal_that_has_gone_stops_nothing(terminal, monkeypatch):
    def fail(text):
        raise OSError(5, "Input/output error")

    line = LiveLine(terminal)
    monkeypatch.setattr(terminal, "write", fail)
    line.show("1 of 9 jobs")
    line.say("data: done")
