"""Networks, the LightningModule that trains them, schedules and checkpoints."""
