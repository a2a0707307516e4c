"""The service over HTTP: an API of verdicts, a live stream, and the files of the page."""
