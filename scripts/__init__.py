"""What does the work: training, and the LoRA tools. No windows, no questions."""
