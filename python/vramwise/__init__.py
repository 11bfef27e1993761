"""vramwise from Python: for now the launcher of the command line program (`python -m vramwise`)."""
