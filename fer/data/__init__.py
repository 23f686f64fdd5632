"""From raw folders to batches: readers, cache, split, balance, augmentation and the LightningDataModule."""
