"""What every training run shares: its folder, lock, checkpoints, resume, progress and record."""
