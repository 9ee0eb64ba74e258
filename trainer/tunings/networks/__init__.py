"""What is learned of a U-Net, one file each."""
