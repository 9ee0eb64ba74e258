"""Reading images that nobody vouches for, writing them, and telling copies apart."""
