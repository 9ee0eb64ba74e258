"""What a worker can be given to learn, one file each; `base` says what a job is."""
