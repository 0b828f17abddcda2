"""Folders, captions, buckets, pictures and the latent cache."""
