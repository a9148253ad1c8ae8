"""Opens a page, or a study's report, in chromium and tells what a script found there."""

import html
import json
import re
import shutil
import subprocess

import pytest

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="there is no chromium to look with"
)
DRIVER = """
<script>
window.faults = [];
window.addEventListener("error", (event) => faults.push(event.message));
window.addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
console.error = (...parts) => faults.push(parts.join(" "));
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  const found = {};
  try {
    STEPS
  } catch (error) {
    faults.push(String(error));
  }
  found.faults = window.faults;
  found.hash = location.hash;
  found.asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  const pre = document.createElement("pre");
  pre.id = "found";
  pre.textContent = JSON.stringify(found);
  document.body.append(pre);
})();
</script>
"""


def browse(page, tmp_path, steps, hash_="", size=(1400, 1100)):
    """What `steps` put into `found` in a page, and the page as it is then; no name is resolved."""
    start = page.rindex("</html>")
    path = tmp_path / "page.html"
    path.write_text(page[:start] + DRIVER.replace("STEPS", steps) + page[start:])
    page = open_page(path.as_uri() + hash_, tmp_path, 30_000, size).stdout
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', page, re.DOTALL)
    return json.loads(html.unescape(found)), page


def open_report(text, folder, tell, size=(800, 600)):
    """What the script `tell` makes the title of the report once it is drawn, and its page then."""
    page = folder / "report.html"
    page.write_text(f"{text}<script>setTimeout(() => {{ {tell} }}, 4000)</script>")
    shown = open_page(page.as_uri(), folder, 8000, size).stdout
    return re.findall("<title>(.*?)</title>", shown)[0], shown


def open_page(address, folder, milliseconds=8000, size=(800, 600)):
    """The page at an address, as `stdout` has it after a time that chromium does not wait for; what
    it said to its console is in `stderr`."""
    # as Debian's chromium starts anywhere, and asks for nothing of the network
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    switches += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={size[0]},{size[1]}"]
    switches += [f"--user-data-dir={folder}/browser", f"--virtual-time-budget={milliseconds}"]
    command = ["chromium", *switches, "--enable-logging=stderr", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
