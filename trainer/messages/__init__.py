"""What the trainer's messages say, as values, and values as messages."""
