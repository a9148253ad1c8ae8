"""What a job writes to its log, and how it ends when its input is bad."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightscape.errors import WeightscapeError


@contextmanager
def job_log(path: str) -> Iterator[logging.Logger]:
    """Log to `path`; a WeightscapeError ends the job with its sentence and no traceback."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger("weightscape")
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield log
    except WeightscapeError as error:
        log.error("error: %s", error)
        sys.exit(f"weightscape: {error}")
    except Exception:
        log.exception("unexpected error")
        raise
    finally:
        log.removeHandler(handler)
        handler.close()
