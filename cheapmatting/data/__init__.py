"""Training pairs: sources, augmentation, batches."""
