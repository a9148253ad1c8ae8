"""What is told of a study's stages, by a clock of our own."""

import io
import os
import threading
import time
from types import SimpleNamespace

import pytest

from weightscape.messages.stages import Job, Stages
from weightscape.messages.terminal import LiveLine


@pytest.fixture
def clock():
    """A clock that stands until it is set."""
    return SimpleNamespace(now=1000.0)


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def start(clock, stream, monkeypatch):
    """Stages that say what a test has happen, and nothing by themselves."""
    monkeypatch.setattr(Stages, "_tick", lambda self: None)

    def start(jobs, order=()):
        stages = Stages("quick", jobs, LiveLine(stream), order, clock=lambda: clock.now)
        stages.begin()
        return stages

    return start


@pytest.fixture
def told(stream):
    """The lines since the last call."""

    def told():
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return lines

    return told


class Screen:
    """A live line that keeps what it shows."""

    def __init__(self):
        self.is_live, self.line, self.said = True, "", []

    def show(self, line):
        self.line = line

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def screen(clock, monkeypatch):
    """Stages on a terminal, whose line is shown when the test asks for it."""
    monkeypatch.setattr(Stages, "_tick", lambda self: None)
    screen = Screen()

    def start(jobs):
        stages = Stages("quick", jobs, screen, clock=lambda: clock.now)
        stages.begin()
        return stages

    screen.start = start
    return screen


TRAINING = {number: Job("training", runs=5) for number in range(4)}


def test_compiling_is_no_part_of_the_time_left(start, told, clock, tmp_path):
    log = tmp_path / "first.log"
    log.write_text("2026-11-25 02:30:11 compiled code was there after 30.0 s\n")
    stages = start(TRAINING)
    stages.start(0, str(log))
    clock.now += 40
    stages.finish(0)
    assert stages.stages["training"].left == pytest.approx(3 * 10)
    stages.start(1)
    clock.now += 10
    stages.finish(1)
    assert stages.stages["training"].left == pytest.approx(2 * 10)


def test_what_is_known_of_jobs_is_how_many_are_done_and_which_are_not(start, clock):
    stages = start({**TRAINING, 4: Job("figures")})
    for number in range(3):
        stages.start(number, f"{number}.log")
    stages.finish(0)
    stages.fail(1, "TIMEOUT")
    known = stages.know()
    assert known.process == os.getpid()
    assert known.stages == {
        "training": {"jobs": 4, "done": 1, "failed": 1},
        "figures": {"jobs": 1, "done": 0, "failed": 0},
    }
    assert known.started.keys() == {"2.log"}
    assert known.failed == {"1.log": "TIMEOUT"}
    when, stage = known.started["2.log"]
    assert known.begun <= when <= time.time()
    assert stage == "training"
    stages.start(1, "1.log")  # again
    assert stages.know().failed == {}


def test_a_stage_has_a_line_at_its_begin_and_one_at_its_end(start, told, clock):
    stages = start({**TRAINING, 4: Job("figures")})
    assert told() == ["Study quick: 5 jobs"]
    for number in TRAINING:
        stages.start(number)
    assert told() == ["training: 20 runs in 4 jobs"]
    for number in TRAINING:
        clock.now += 10
        stages.finish(number)
    assert told() == ["training: done in 40 s"]
    stages.start(4)
    clock.now += 200
    stages.finish(4)
    stages.end()
    assert told() == ["figures: 1 job", "figures: done in 3 min", "Study quick: done in 4 min"]


def test_now_and_then_a_line_tells_the_time_left(start, told, clock):
    stages = start({number: Job("training", runs=1, cost=1 + number) for number in range(4)})
    stages.start(0)
    told()
    clock.now += 59
    stages.finish(0)
    assert told() == []
    clock.now += 1
    stages.finish(1)  # 3 of 10 of the cost in 60 s
    assert told() == ["training: 2 of 4 runs, about 2 min left"]
    clock.now += 59
    stages.finish(2)
    assert told() == []  # a minute has not passed


def test_thousands_of_jobs_are_a_line_a_minute(start, told, clock):
    stages = start({number: Job("measures") for number in range(6000)})
    for number in range(6000):
        stages.start(number)
        clock.now += 0.1
        stages.finish(number)
    lines = told()
    assert len(lines) == 1 + 1 + 9 + 1
    assert lines[:2] == ["Study quick: 6,000 jobs", "measures: 6,000 jobs"]
    assert lines[5].startswith("measures: 2,40")
    assert lines[-1] == "measures: done in 10 min"


def test_jobs_that_fail_are_counted_until_they_start_again(start, told):
    stages = start(TRAINING)
    for number in (0, 1):
        stages.start(number)
        stages.fail(number)
    stages.start(1)
    stages.finish(1)
    told()
    stages.end()
    assert told() == [
        "training: 5 of 20 runs, 1 job failed",
        "Study quick: 1 of 4 jobs, 1 job failed",
    ]


def test_a_study_that_ends_early_tells_of_what_has_begun_and_no_time_left(start, told, clock):
    stages = start({**TRAINING, 4: Job("figures")})
    stages.start(0)
    clock.now += 30
    stages.finish(0)
    told()
    stages.end()
    assert told() == ["training: 5 of 20 runs", "Study quick: 1 of 5 jobs"]


def test_nothing_is_told_where_nothing_is_to_be_done(start, told):
    start({}).end()
    assert told() == []


def test_a_job_that_is_of_no_stage_is_not_counted(start, told):
    stages = start({4: Job("figures")})
    told()
    for tell in (stages.start, stages.finish, stages.fail):
        tell(0)
    assert told() == []


def test_a_job_whose_start_was_not_heard_of_is_done_all_the_same(start, told):
    stages = start({4: Job("figures")})
    stages.finish(4)
    assert told()[-1] == "figures: done in 0 s"


def test_a_terminal_shows_the_stages_of_now_in_their_order(screen, clock):
    jobs = {**TRAINING, 5: Job("measures"), 6: Job("measures")}
    stages = screen.start(jobs)
    stages.start(5)
    stages.start(0)
    stages.show()
    assert screen.line == "0 of 6 jobs done; training: 0 of 20 runs; measures: 0 of 2 jobs"
    clock.now += 10
    stages.finish(0)
    clock.now += 12
    stages.show()
    assert screen.line == (
        "1 of 6 jobs done; training: 5 of 20 runs, about 18 s left; measures: 0 of 2 jobs"
    )
    for number in (1, 2, 3):
        clock.now += 100
        stages.finish(number)
    stages.show()
    assert screen.line == "4 of 6 jobs done; measures: 0 of 2 jobs"
    assert screen.said == [
        "Study quick: 6 jobs",
        "measures: 2 jobs",
        "training: 20 runs in 4 jobs",
        "training: done in 5 min",  # and no line in between, which the terminal's own is for
    ]


def test_stages_stand_in_the_order_that_is_given(start, told):
    stages = start({0: Job("figures"), 1: Job("data"), 2: Job("mine")}, ["data", "figures"])
    for number in range(3):
        stages.start(number)
    told()
    stages.end()
    assert [line.partition(":")[0] for line in told()] == ["data", "figures", "mine", "Study quick"]


def test_no_time_is_left_where_a_job_takes_longer_than_it_seemed(screen, clock):
    stages = screen.start(TRAINING)
    stages.start(0)
    clock.now += 1
    stages.finish(0)
    clock.now += 100
    stages.show()
    assert screen.line == "1 of 4 jobs done; training: 5 of 20 runs"


def test_a_job_that_runs_long_tells_what_it_has_logged_last(screen, clock, tmp_path):
    log = tmp_path / "logs" / "train_runs" / "dnn" / "0000.log"
    log.parent.mkdir(parents=True)
    stages = screen.start(TRAINING)
    stages.start(0, str(log))
    clock.now += 5
    stages.start(1, str(tmp_path / "none.log"))
    log.write_text("2026-11-26 19:20:00 2 of 5 runs, about 60 s left\nof a library\n")
    stages.show()
    assert screen.line == "0 of 4 jobs done; training: 0 of 20 runs"
    clock.now += 5
    stages.show()
    assert screen.line.endswith("0 of 20 runs; train_runs dnn 0000: 2 of 5 runs, about 60 s left")
    log.write_text("2026-11-26 19:20:00 process 7 on node\n")
    stages.show()
    assert screen.line.endswith("0 of 20 runs")
    log.unlink()
    stages.show()
    assert screen.line.endswith("0 of 20 runs")


def test_no_time_is_told_that_another_stage_or_a_long_job_decides(screen, clock, tmp_path):
    log = tmp_path / "slow.log"
    jobs = {**TRAINING, 5: Job("measures"), 6: Job("measures"), 7: Job("measures")}
    stages = screen.start(jobs)
    for number in (0, 5, 6):
        stages.start(number, str(log) if number == 6 else "")
        clock.now += 1
    stages.finish(5)
    stages.show()
    assert screen.line.endswith("training: 0 of 20 runs; measures: 1 of 3 jobs")
    for number in TRAINING:
        stages.finish(number)
    stages.show()
    assert screen.line.endswith("measures: 1 of 3 jobs, about 4 s left")
    log.write_text("2026-11-26 19:20:00 1 of 9 runs, about 80 s left\n")
    clock.now += 9
    stages.finish(7)
    stages.show()
    assert screen.line.endswith("measures: 2 of 3 jobs; slow: 1 of 9 runs, about 80 s left")


def test_a_log_of_a_study_has_a_line_where_a_long_job_leaves_it_quiet(start, told, clock, tmp_path):
    log = tmp_path / "slow.log"
    stages = start({0: Job("measures"), 1: Job("measures")})
    stages.start(0, str(log))
    told()

    def lines_after(seconds, message):
        clock.now += seconds
        log.write_text(f"2026-11-26 19:20:00 {message}\n")
        stages.look()
        return told()

    assert lines_after(10, "1 of 90 runs") == []
    assert lines_after(49, "2 of 90 runs") == []
    assert lines_after(1, "3 of 90 runs") == ["measures: 0 of 2 jobs; slow: 3 of 90 runs"]
    assert lines_after(600, "3 of 90 runs") == []  # as before
    assert lines_after(5340, "4 of 90 runs") == ["measures: 0 of 2 jobs; slow: 4 of 90 runs"]
    assert lines_after(299, "5 of 90 runs") == []  # of a study that lasts long, less often
    assert lines_after(20, "6 of 90 runs") == ["measures: 0 of 2 jobs; slow: 6 of 90 runs"]


def test_compiling_is_told_at_once(start, told, clock, tmp_path):
    log = tmp_path / "first.log"
    log.write_text("2026-11-26 19:20:00 compiling train for this type of processor, once\n")
    stages = start(TRAINING)
    stages.start(0, str(log))
    told()
    stages.look()
    assert told() == []
    clock.now += 10
    for _ in range(2):
        stages.look()
    assert told() == [
        "training: 0 of 20 runs; first: compiling train for this type of processor, once"
    ]


def test_the_terminal_s_line_moves_by_itself_until_the_end(clock, monkeypatch):
    monkeypatch.setattr("weightscape.messages.stages.SECONDS_ON_TERMINAL", 0.01)
    screen, before = Screen(), set(threading.enumerate())
    stages = Stages("quick", TRAINING, screen, clock=lambda: clock.now)
    stages.begin()
    stages.finish(0)
    wait_until(lambda: screen.line == "1 of 4 jobs done; training: 5 of 20 runs")
    stages.end()
    wait_until(lambda: set(threading.enumerate()) <= before)
    screen.line = ""
    stages.show()
    assert screen.line == ""


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()
