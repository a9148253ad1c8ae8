"""Why a job failed: what sacct and Slurm's logs say, as version 22.05 wrote it."""

import pytest

from weightscape.messages.logs import tells_error
from weightscape.monitor import ends
from weightscape.monitor.ends import End

SACCT = """\
20|FAILED||100M|0:9
20.batch|CANCELLED by 0|300657K||0:9
21|OUT_OF_MEMORY||400Mn|0:125
21.batch|OUT_OF_MEMORY|421M||0:125
21.0|CANCELLED|1M||0:9
22|FAILED||1000M|1:0
22.batch|FAILED|300M||1:0
23|CANCELLED by 0||4Gc|0:0
"""
LOG = "slurmstepd: error: StepId=20.batch exceeded memory limit (307872768 > 104857600), being k"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("20", "out of memory, used 294 of 100 MB"),
        ("21", "out of memory, used 421 of 400 MB"),
        ("22", "FAILED"),
        ("23", "CANCELLED"),
    ],
)
def test_the_accounts_tell_how_a_job_ended(number, told):
    assert ends.read_ends(SACCT)[number].tell() == told


def test_one_question_is_asked_for_all(plant, calls):
    plant("sacct", f"cat <<END\n{SACCT}END")
    found = ends.find_ends({"20": "FAILED", "24": "TIMEOUT"})
    assert [found["20"].is_out_of_memory, found["24"].tell()] == [True, "TIMEOUT"]
    assert len(calls("sacct")) == 1
    assert ends.find_ends({}) == {}
    assert len(calls("sacct")) == 1


@pytest.mark.parametrize("script", [None, "echo Slurm accounting storage is disabled >&2; exit 1"])
def test_without_accounts_the_state_and_slurm_s_log_tell(plant, tmp_path, script):
    if script:
        plant("sacct", script)
    found = ends.find_ends({"20": "FAILED", "21": "OUT_OF_MEMORY", "22": ends.MISSING})
    log = tmp_path / "20.log"
    log.write_text(f"hello\n{LOG}\nsrun: error\n")
    assert ends.find_end(found["20"], str(log)).tell() == "out of memory, used 294 of 100 MB"
    assert ends.find_end(found["20"], str(tmp_path / "none")).tell() == "FAILED"
    assert found["21"].tell() == "out of memory"
    assert found["22"].tell() == "left Slurm's queue without its output"


def test_the_kernel_s_word_tells_no_number():
    line = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch."
    assert ends.read_log(End("FAILED"), [line]).tell() == "out of memory"


@pytest.mark.parametrize(
    ("text", "size"),
    [("300657K", 293.61), ("100M", 100), ("4Gn", 4096), ("1T", 2**20), ("", None), ("?", None)],
)
def test_sizes_are_megabytes(text, size):
    assert ends.read_size(text) == (size and pytest.approx(size, abs=0.01))


def test_the_job_s_own_log_says_what_slurm_did(tmp_path):
    log = tmp_path / "seeds-0000.log"
    ends.note_end(str(log), End("FAILED"))  # it has said so itself
    assert not log.exists()
    ends.note_end(str(log), End("FAILED", 421, 400, True))
    assert log.read_text().endswith("error: ended by Slurm (out of memory, used 421 of 400 MB)\n")
    assert tells_error(log.read_text().splitlines())
