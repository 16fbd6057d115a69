"""Masks of a photograph: from a file, a drawn rectangle or a segmentation network; and trimaps from masks."""
