"""The queue of bakes: kept on disk, run one after another, each in a process of its own."""
