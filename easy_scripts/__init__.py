"""What the user starts: the verbs, the private environment and, later, the windows."""
