"""Messages: what a job tells, in its log and on a terminal."""
