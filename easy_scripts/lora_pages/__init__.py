"""Parts of pages that the wizards for LoRA files share: what a file is, lists of files, results."""
