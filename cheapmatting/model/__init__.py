"""The matting network and its weight files."""
