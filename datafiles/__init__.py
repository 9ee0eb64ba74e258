"""What the files and columns of labelled image sets are called, and what their labels say.

Everything that reads a data set or a pool asks here, so that a file means the same everywhere. No
service is imported, and nothing here touches a disk.
"""
