"""Training data: kept by `cache`, read by `images`, drawn and changed by `samples`, by `loading`.

What the server needs of it loads no torch.
"""
