"""Opens a page in chromium and tells what a script found there."""

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
    switches = ["--headless", "--no-sandbox", "--disable-gpu"]
    switches += [f"--window-size={size[0]},{size[1]}"]
    switches += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=30000"]
    command = ["chromium", *switches, f"--user-data-dir={tmp_path}/user", "--dump-dom"]
    done = subprocess.run(
        [*command, path.as_uri() + hash_], capture_output=True, text=True, timeout=120, check=True
    )
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found)), done.stdout
