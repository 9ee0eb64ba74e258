"""The command line `variegate`."""
