"""What a user sees of a study: few lines, and all of an error."""

import os
import pty
import re
import subprocess

SHARD = "results/test/weights/dnn/digits/width-2/seeds-0000.h5"
LINES = [
    r"Using workflow specific profile .*",
    r"Assuming unrestricted shared filesystem usage\.",
    r"Study test: 2 jobs",
    r"data: 1 job",
    r"data: done in \d+ (s|min)",
    r"training: 1 run in 1 job",
    r"training: done in \d+ (s|min)",
    r"Study test: done in \d+ (s|min)",
    r"Complete log\(s\): .*",
]


def read_log(project):
    """Snakemake's own log of the call before."""
    return max((project.folder / ".snakemake/log").iterdir()).read_text()


def run_on_terminal(project, *arguments):
    """The lines that a terminal shows after `snakemake ARGUMENTS`, and all that it was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        project.command(*arguments),
        cwd=project.folder,
        env=project.environment | {"TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        sent = b""
        try:
            while part := os.read(ours, 65536):
                sent += part
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    text = re.sub(r"\x1b\[\d*m", "", sent.decode())
    return [line.split("\x1b[K")[-1].strip("\r") for line in text.split("\n")], text


def test_a_stage_is_two_lines_and_the_log_has_the_rest(fresh):
    done = fresh.run(SHARD)
    assert done.stdout == ""
    # a computer that is new to it, or busy, has a line on the job as well
    printed = [line for line in done.stderr.splitlines() if "; train_runs dnn " not in line]
    assert len(printed) == len(LINES), done.stderr
    for line, pattern in zip(printed, LINES, strict=True):
        assert re.fullmatch(pattern, line), line
    log = read_log(fresh)
    assert "rule train_runs:\n" in log
    assert "2 of 2 steps (100%) done" in log


def test_snakemake_s_own_lines_come_when_they_are_asked_for(finished):
    table = "results/test/tables/runs.csv"
    (finished.folder / table).unlink()
    output = finished.succeed("--printshellcmds", table)
    assert "rule join_tables_runs:\n" in output
    assert "1 of 1 steps (100%) done" in output
    assert "Study test" not in output


def test_a_report_warns_of_nothing(finished, tmp_path):
    output = finished.succeed("--report", str(tmp_path / "report.html"))
    assert output.splitlines()[1:] == ["Creating report...", "Report created."]


def test_a_terminal_has_a_line_of_now_that_leaves_nothing_behind(fresh):
    (fresh.folder / "mine.npz").write_bytes(b"no archive")
    fresh.study |= {
        "datasets": {"mine": {"file": "mine.npz"}},
        "populations": [{"model": "dnn", "dataset": "mine", "widths": [3], "seeds": 1}],
    }
    lines, sent = run_on_terminal(fresh, "results/datasets/mine.h5")
    assert "\x1b[K0 of 1 job done" in sent
    assert not [line for line in lines if "of 1 job done" in line]
    assert lines[2:4] == ["Study test: 1 job", "data: 1 job"]
    assert lines[4].startswith("weightscape: mine.npz is not a readable .npz or HDF5 file")
    assert "Error in rule prepare_dataset:" in lines
    assert "Study test: 0 of 1 job, 1 job failed" in lines
