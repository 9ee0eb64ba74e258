"""What the trainer can teach a diffusion model: methods as a table, and what they are made of.

`texts` are what may stand for a text while it is learned, `networks` what may be learned of the
U-Net, a file each. Only `methods` and `values` are read by the server, which loads no torch for it.
"""
