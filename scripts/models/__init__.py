"""Recognise and load base models: bundled configurations, tokenizer, text encoding."""
