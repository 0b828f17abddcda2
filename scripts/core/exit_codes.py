"""What the exit code of every command says."""

DONE = 0
MENDABLE = 1  # something that the user can mend
STOPPED = 2  # by the user
NO_MEMORY = 3
BUG = 70  # of ours
