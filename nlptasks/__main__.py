"""`python -m nlptasks` is the command line."""

from nlptasks.cli import main

main()
