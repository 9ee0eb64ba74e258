"""What the files and columns of labelled image sets are called, and what their labels say.

Whoever reads a data set or a pool asks here, so that the same file means the same everywhere. No
service is imported, and nothing here touches a disk.
"""
