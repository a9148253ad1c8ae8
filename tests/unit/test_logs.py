"""What a job logs, and how it ends."""

import io
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from weightscape.errors import WeightscapeError
from weightscape.messages import logs
from weightscape.messages.logs import job_log, touch


def test_messages_of_the_library_are_in_the_file(tmp_path):
    path = tmp_path / "logs" / "job.log"
    with job_log(str(path)) as log:
        log.info("n = %d runs", 5)
        logging.getLogger("weightscape.engine.training").info("seed 7")
        logging.getLogger("elsewhere").info("not ours")
    text = path.read_text()
    assert "n = 5 runs" in text
    assert "seed 7" in text
    assert "not ours" not in text


def test_bad_input_ends_the_job_with_a_sentence_and_no_traceback(tmp_path):
    path = tmp_path / "job.log"
    with pytest.raises(SystemExit) as caught, job_log(str(path)):
        raise WeightscapeError("x.h5 is damaged; delete it")
    # a text as exit code is what Python prints before it ends with status 1
    assert caught.value.code == "weightscape: x.h5 is damaged; delete it"
    assert "x.h5 is damaged; delete it" in path.read_text()
    assert "Traceback" not in path.read_text()


@pytest.mark.parametrize("error", [WeightscapeError, ZeroDivisionError])
def test_an_error_takes_the_line_of_now_away(tmp_path, monkeypatch, error):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises((SystemExit, error)), job_log(str(tmp_path / "job.log")):
        raise error("x")
    assert terminal.getvalue() == "\r\x1b[K"


def test_another_error_is_logged_with_its_traceback_and_goes_on(tmp_path):
    path = tmp_path / "job.log"
    with pytest.raises(ZeroDivisionError), job_log(str(path)):
        print(1 / 0)
    assert "Traceback" in path.read_text()
    assert "ZeroDivisionError" in path.read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_s_error_stands_alone():
    """The log is on the disk that is full."""
    code = """
        from weightscape.errors import WeightscapeError
        from weightscape.messages.logs import job_log
        with job_log("/dev/full") as log:
            for number in range(100):
                log.info("a line")
            raise WeightscapeError("the disk is full")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "weightscape: the disk is full\n"


def test_a_log_that_can_t_be_opened_is_one_sentence(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(SystemExit) as caught, job_log(str(tmp_path / "logs" / "job.log")):
        pytest.fail("there is no log")
    assert "job.log can't be written: " in str(caught.value.code)


def test_a_job_s_log_is_its_own(tmp_path):
    for name in ("one", "two"):
        with job_log(str(tmp_path / name)) as log:
            log.info("message of %s", name)
    assert "message of two" not in (tmp_path / "one").read_text()
    assert "message of one" not in (tmp_path / "two").read_text()


@pytest.mark.parametrize("error", [None, WeightscapeError, ZeroDivisionError])
def test_no_handler_is_left_behind(tmp_path, error):
    before = list(logging.getLogger("weightscape").handlers)
    try:
        with job_log(str(tmp_path / "job.log")):
            if error:
                raise error("x")
    except (SystemExit, ZeroDivisionError):
        pass
    assert logging.getLogger("weightscape").handlers == before


def test_a_job_s_log_starts_anew(tmp_path):
    path = tmp_path / "job.log"
    path.write_text("of an earlier try")
    with job_log(str(path)) as log:
        log.info("again")
    assert "earlier" not in path.read_text()


# heartbeat


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(logs, "SECONDS_PER_BEAT", 0.01)


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_a_log_stays_young_while_its_job_writes_nothing(tmp_path, fast):
    path = tmp_path / "job.log"
    with job_log(str(path)):
        for _ in range(2):
            os.utime(path, (0, 0))
            wait_until(lambda: path.stat().st_mtime > time.time() - 60)
    assert len(path.read_text().splitlines()) == 1  # which process, and where


@pytest.mark.parametrize("error", [None, WeightscapeError, ZeroDivisionError, KeyboardInterrupt])
def test_the_heartbeat_ends_with_the_job(tmp_path, fast, error):
    # by name and not by number: the heartbeat of an earlier test may end in the meantime
    path, before = tmp_path / "job.log", set(threading.enumerate())
    try:
        with job_log(str(path)):
            if error:
                raise error("x")
    except (SystemExit, ZeroDivisionError, KeyboardInterrupt):
        pass
    wait_until(lambda: set(threading.enumerate()) <= before)
    os.utime(path, (0, 0))
    time.sleep(0.1)
    assert path.stat().st_mtime == 0


def test_a_log_that_is_removed_does_not_trouble_its_job(tmp_path, fast, capsys):
    path = tmp_path / "job.log"
    with job_log(str(path)) as log:
        path.unlink()
        time.sleep(0.1)
        log.info("on")
    assert not path.exists()
    assert capsys.readouterr().err == ""


def test_a_heartbeat_that_hangs_keeps_no_process_alive(tmp_path):
    code = (
        "import sys, time\n"
        "from weightscape.messages import logs\n"
        "logs.SECONDS_PER_BEAT, logs.touch = 0.01, lambda path: time.sleep(1000)\n"
        "with logs.job_log(sys.argv[1]):\n"
        "    time.sleep(0.1)\n"
        "    raise logs.WeightscapeError('its own error')\n"
    )
    call = [sys.executable, "-c", code, str(tmp_path / "job.log")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "weightscape: its own error\n"


LEAVE = """
import atexit, sys
from weightscape.messages.logs import job_log, leave

atexit.register(print, "taken down")
with job_log(sys.argv[1]) as log:
    log.info("the last line")
    print("on stdout", flush=False)
    sys.stderr.write("on stderr")
    if len(sys.argv) > 2:
        raise ZeroDivisionError
leave()
"""


def test_a_job_that_is_done_leaves_at_once_and_loses_nothing(tmp_path):
    command = [sys.executable, "-c", LEAVE, str(tmp_path / "job.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on stdout\n", "on stderr")
    assert "the last line" in (tmp_path / "job.log").read_text()
    failed = subprocess.run([*command, "fail"], capture_output=True, check=False)
    assert failed.returncode == 1


def test_a_touch_tells_the_date_that_the_file_has(tmp_path):
    path = tmp_path / "job.log"
    path.touch()
    os.utime(path, (0, 0))
    assert touch(str(path)) == path.stat().st_mtime == pytest.approx(time.time(), abs=60)
