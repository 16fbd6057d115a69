"""Matting behind HTTP: a server for other programs, and a page for people."""
