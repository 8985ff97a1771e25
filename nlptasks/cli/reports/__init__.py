"""What `nlptasks eval` prints and writes of a report."""
