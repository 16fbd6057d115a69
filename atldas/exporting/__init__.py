"""A found network in the formats of other programs: one function for each format, in the dict of `command`."""
