"""The one error that users see: a sentence that names the file, key or run and says what to do."""


class WeightscapeError(Exception):
    """Bad input from outside. Its text is shown alone, without a traceback."""
