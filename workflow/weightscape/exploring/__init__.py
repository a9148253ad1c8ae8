"""The explorer: one page of linked views of a study's runs, which opens from disk in a browser."""
