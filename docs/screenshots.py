"""Takes the README's pictures of the report and the explorer of the quick study; make calls it."""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
STUDY = HERE.parent / "results" / "quick"
PICTURES = {
    "report": ("report.html", (1000, 660)),
    # the DNNs of 20 hidden units are selected
    "explorer": ("explorer.html#runs=16-23", (1320, 1030)),
}
"""name -> page, and the size of its picture"""
FRAME = 200  # pixels of a window's height that may be the browser's own
# the report's graph of rules takes another width and other colours each time, and its menu fades in
STYLE = """<style>
#rulegraph { display: none; }
* { transition: none !important; animation: none !important; }
</style>"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("make screenshots: install Chromium, which takes the pictures")
    if not all((STUDY / page.partition("#")[0]).exists() for page, _ in PICTURES.values()):
        sys.exit("make screenshots: call make first, which makes the pages of the quick study")
    for name, (page, size) in PICTURES.items():
        target = HERE / f"screenshot-{name}.png"
        picture = take(browser, page, size).crop((0, 0, *size))
        few_colours = picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few_colours.save(target, optimize=True)
        print(f"{target.relative_to(HERE.parent)}: {target.stat().st_size / 1000:.0f} kB")


def take(browser: str, page: str, size: tuple[int, int]) -> Image.Image:
    """A window's picture, when all that its page starts has ended."""
    file, _, view = page.partition("#")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "page.html"), Path(folder, "picture.png")
        source.write_text((STUDY / file).read_text(encoding="utf-8") + STYLE, encoding="utf-8")
        command = [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--force-device-scale-factor=1", "--virtual-time-budget=15000"),
            f"--window-size={size[0]},{size[1] + FRAME}",
            f"--user-data-dir={folder}/user",
            f"--screenshot={target}",
            f"{source.as_uri()}#{view}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not target.exists():
            sys.exit(f"make screenshots: {browser} took no picture of {page}:\n{done.stderr}")
        return Image.open(io.BytesIO(target.read_bytes())).convert("RGB")


if __name__ == "__main__":
    main()
