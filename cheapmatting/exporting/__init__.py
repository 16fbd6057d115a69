"""The whole network in the formats of other runtimes: one function for each format, in the dict of `formats`."""
