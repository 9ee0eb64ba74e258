"""What an image may be conditioned on besides its text, a file each.

Adding one is adding its file, its message in `ImageCondition`, and its test.
"""
