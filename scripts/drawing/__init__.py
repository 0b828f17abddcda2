"""Draw with finished LoRAs: their versions at several strengths, and sheets of pictures."""
