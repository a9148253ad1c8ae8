"""What a job logs, and how it ends."""

import logging

import pytest

from weightscape.errors import WeightscapeError
from weightscape.logs import job_log


def test_messages_of_the_library_are_in_the_file(tmp_path):
    path = tmp_path / "logs" / "job.log"
    with job_log(str(path)) as log:
        log.info("n = %d runs", 5)
        logging.getLogger("weightscape.training").info("seed 7")
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


def test_another_error_is_logged_with_its_traceback_and_goes_on(tmp_path):
    path = tmp_path / "job.log"
    with pytest.raises(ZeroDivisionError), job_log(str(path)):
        print(1 / 0)
    assert "Traceback" in path.read_text()
    assert "ZeroDivisionError" in path.read_text()


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
