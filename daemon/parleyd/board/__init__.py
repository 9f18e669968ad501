"""`parleyd bench`: what the daemon costs on this board, as a line for the table in docs/measurements/boards.md."""
