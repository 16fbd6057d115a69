"""CheapMatting: image matting with the efficient network that ATLDAS found."""
