"""What stands for texts while something is learned, one file each."""
