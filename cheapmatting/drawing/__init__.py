"""Procedural foregrounds and backgrounds."""
