"""One step, the loop, noise and loss, optimisers, schedules, previews, checkpoints."""
