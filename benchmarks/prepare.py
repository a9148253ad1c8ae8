"""Makes the images ready that the benchmarks train on; `make bench` calls it.

    python -m benchmarks.prepare FOLDER_OF_PREPARED_DATASETS

They come from the folder that WEIGHTSCAPE_DATASETS names, or are downloaded.
"""

import os
import sys
from pathlib import Path

from weightscape.preparing.datasets import prepare

NAMES = ("digits", "mnist", "cifar10")


def main() -> None:
    folder = Path(sys.argv[1])
    given = os.environ.get("WEIGHTSCAPE_DATASETS")
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        target = folder / f"{name}.h5"
        if not target.exists():
            prepare(name, target, None, Path(given) if given else None, folder / "downloads")


if __name__ == "__main__":
    main()
