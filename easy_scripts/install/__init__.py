"""Makes and repairs the private environment: package choice, pip, checks, stamp."""
