"""What nothing in an object store needs: found, counted and discarded while services run."""
