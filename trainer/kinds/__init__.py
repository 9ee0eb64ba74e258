"""What the server knows of each kind of run, one file each; `base` says what that is.

What a worker does for a kind is in `jobs`. Nothing here loads torch before a run needs it.
"""
