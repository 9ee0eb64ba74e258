"""Study files: YAML that says what a study compares, read with all of its errors at once."""
