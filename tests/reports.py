"""Opens a study's report in chromium."""

import re
import shutil
import subprocess

import pytest

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="there is no chromium to look with"
)


def open_report(text, folder, tell, size=(800, 600)):
    """What the script `tell` makes the title of the report once it is drawn, and its page then."""
    page = folder / "report.html"
    page.write_text(f"{text}<script>setTimeout(() => {{ {tell} }}, 4000)</script>")
    # as Debian's chromium starts anywhere, and asks for nothing of the network
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    switches += [f"--user-data-dir={folder}/browser", "--virtual-time-budget=8000"]
    switches += [f"--window-size={size[0]},{size[1]}"]
    command = ["chromium", *switches, "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    return re.findall("<title>(.*?)</title>", shown)[0], shown
