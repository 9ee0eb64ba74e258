"""Where images are read from: folders, archives and prefixes of the object store, and their layout.

The gateway reads the places that it is told of, and the command line those of the user's machine
before it sends anything: both decide alike because both decide here.
"""
