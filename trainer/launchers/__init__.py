"""Where runs train. One file or folder each; `base` says what a launcher is."""
