"""Bakes that outlive the window that started them."""
