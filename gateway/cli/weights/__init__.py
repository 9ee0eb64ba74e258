"""Models' weights, fetched from a hub or an S3 server into folders that services read.

`wanted` reads the list of what is wanted; `hub` and `bucket` are where it comes from; `download`
fetches one file, `staging` puts a whole folder in its place, and `fetching` does it for a list.
"""
