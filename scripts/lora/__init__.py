"""The LoRA layer, the network, its key names and its file."""
