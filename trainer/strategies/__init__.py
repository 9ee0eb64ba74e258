"""Training strategies: how real and synthetic images meet in a batch. One file each."""
