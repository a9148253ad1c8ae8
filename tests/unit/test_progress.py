"""How far a job is, on the log and on a terminal, by a clock of our own."""

import io
import re
from types import SimpleNamespace

import pytest

from weightscape.messages import progress
from weightscape.messages.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def lines(caplog):
    """What has been logged so far."""
    caplog.set_level("INFO", "weightscape.messages.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def advance(job, clock, seconds, runs, epochs, side_by_side=1):
    """`runs` more runs of a job, each epoch of which takes `seconds`."""
    for _ in range(0, runs, side_by_side):
        for epoch in range(1, epochs + 1):
            clock.now += seconds
            job.epoch(side_by_side, epoch, epochs)


def on_screen(text):
    """The line that a terminal shows after `text`: a return goes back, ESC [K wipes the rest."""
    line, place = "", 0
    for part in re.findall(r"\r|\x1b\[K|[^\r\x1b]+", text):
        if part == "\r":
            place = 0
        elif part == "\x1b[K":
            line = line[:place]
        else:
            line, place = line[:place] + part + line[place + len(part) :], place + len(part)
    return line


def test_the_log_tells_runs_their_rate_and_the_time_left(clock, lines):
    with Progress("dnn digits 5", 10, io.StringIO()) as job:
        advance(job, clock, 20.0, 2, 4)
    # 60 s: three quarters of the first run; 120 s: one and a half; 160 s is too soon
    assert lines() == [
        "0 of 10 runs, epoch 3 of 4, 80.0 s a run, about 12 min left",
        "1 of 10 runs, epoch 2 of 4, 80.0 s a run, about 11 min left",
    ]


def test_fast_runs_are_counted_by_the_second(clock, lines):
    with Progress("dnn digits 5", 1000, io.StringIO()) as job:
        advance(job, clock, 0.25, 242, 1)
    assert lines() == ["240 of 1,000 runs, epoch 1 of 1, 4.00 runs/s, about 3 min left"]


def test_runs_side_by_side_count_together(clock, lines):
    with Progress("dnn digits 5", 250, io.StringIO()) as job:
        advance(job, clock, 70.0, 200, 2, side_by_side=100)
    assert lines() == [
        "0 of 250 runs, epoch 1 of 2, 1.4 s a run, about 5 min left",
        "100 of 250 runs, epoch 2 of 2, 1.4 s a run, about 4 min left",
        "100 of 250 runs, epoch 1 of 2, 1.4 s a run, about 2 min left",
        "200 of 250 runs, epoch 2 of 2, 1.4 s a run, about 70 s left",
    ]


def test_the_end_is_logged_however_soon(clock, lines):
    with Progress("dnn digits 5", 3, io.StringIO()) as job:
        advance(job, clock, 1.0, 2, 1, side_by_side=2)
        advance(job, clock, 1.0, 1, 1)  # the last stack may be smaller
    assert lines() == ["3 of 3 runs, 1.50 runs/s"]


def test_at_most_a_line_a_minute_until_the_end(clock, lines):
    with Progress("dnn digits 5", 100, io.StringIO()) as job:
        advance(job, clock, 7.0, 100, 3)
    # 2,100 s: a line at the first epoch's end after each minute, 63 s apart, and the last
    assert len(lines()) == 2100 // 63 + 1
    assert lines()[-1] == "100 of 100 runs, 21.0 s a run"


@pytest.mark.parametrize("terminal", [io.StringIO, Terminal])
def test_no_time_at_all_is_no_error(clock, lines, terminal):
    with Progress("dnn digits 5", 2, terminal()) as job:
        advance(job, clock, 0.0, 2, 3)
    (line,) = lines()
    assert line.startswith("2 of 2 runs")


def test_a_line_has_no_empty_place_where_there_is_no_rate_yet(clock, lines):
    with Progress("dnn digits 5", 1, io.StringIO()) as job:
        advance(job, clock, 0.0, 1, 1)
    assert ", ," not in lines()[0]


def test_nothing_is_written_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with Progress("dnn digits 5", 3, stream) as job:
        advance(job, clock, 100.0, 3, 2)
    assert stream.getvalue() == ""


def test_nothing_is_written_where_the_study_has_a_line_already(clock, monkeypatch):
    monkeypatch.setenv("WEIGHTSCAPE_LINE_IS_OWNED", "1")
    stream = Terminal()
    with Progress("dnn digits 5", 3, stream) as job:
        advance(job, clock, 100.0, 3, 2)
    assert stream.getvalue() == ""


def test_a_terminal_shows_one_line_of_now(clock):
    stream = Terminal()
    with Progress("dnn digits 5", 4, stream) as job:
        advance(job, clock, 10.0, 1, 2)
        assert on_screen(stream.getvalue()) == (
            "dnn digits 5: 1 of 4 runs, epoch 2 of 2, 20.0 s a run, about 60 s left"
        )
        advance(job, clock, 10.0, 2, 2)
        assert on_screen(stream.getvalue()) == (
            "dnn digits 5: 3 of 4 runs, epoch 2 of 2, 20.0 s a run, about 20 s left"
        )
    assert "\n" not in stream.getvalue()


def test_a_shorter_line_leaves_nothing_of_a_longer_one(clock):
    stream = Terminal()
    with Progress("dnn digits 5", 1, stream) as job:
        for epoch in (99, 100):
            clock.now += 1
            job.epoch(1, epoch, 100)
        assert on_screen(stream.getvalue()) == "dnn digits 5: 1 of 1 runs, 2.0 s a run"


def test_a_terminal_is_clear_at_the_end(clock):
    stream = Terminal()
    with Progress("dnn digits 5", 1, stream) as job:
        advance(job, clock, 10.0, 1, 3)
    assert on_screen(stream.getvalue()) == ""


def test_a_terminal_is_clear_after_an_error(clock):
    stream = Terminal()

    def fail():
        with Progress("dnn digits 5", 2, stream) as job:
            advance(job, clock, 10.0, 1, 3)
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert on_screen(stream.getvalue()) == ""


def test_a_terminal_is_not_written_to_all_the_time(clock):
    stream = Terminal()
    with Progress("dnn digits 5", 1000, stream) as job:
        advance(job, clock, 0.001, 1000, 1)
    # a second, at most five times written to, and once cleared
    assert stream.getvalue().count("\r") <= 6


def test_standard_error_is_the_terminal_unless_told_otherwise(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("dnn digits 5", 2) as job:
        advance(job, clock, 10.0, 1, 1)
        assert "1 of 2 runs" in on_screen(stream.getvalue())


def test_runs_that_are_added_count_without_epochs(clock, lines):
    with Progress("matching", 10, io.StringIO()) as job:
        for _ in range(4):
            clock.now += 40.0
            job.add()
        clock.now += 40.0
        job.add(6)
    # lines at 80 and 160 s, a minute or more apart, and at the end
    assert lines() == [
        "2 of 10 runs, 40.0 s a run, about 5 min left",
        "4 of 10 runs, 40.0 s a run, about 4 min left",
        "10 of 10 runs, 20.0 s a run",
    ]


def test_runs_that_are_added_show_on_a_terminal(clock):
    stream = Terminal()
    with Progress("fc1: embedding", 8, stream) as job:
        clock.now += 0.5
        job.add(3)
        assert on_screen(stream.getvalue()) == (
            "fc1: embedding: 3 of 8 runs, 6.00 runs/s, about 1 s left"
        )
    assert on_screen(stream.getvalue()) == ""


def test_a_job_without_runs_is_no_error(clock, lines):
    with Progress("fc1: embedding", 0, io.StringIO()):
        clock.now += 1
    assert lines() == []
