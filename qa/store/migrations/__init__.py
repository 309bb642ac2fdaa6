"""Schema revisions, one file a step under `versions/`."""
