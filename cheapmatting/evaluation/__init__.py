"""Metrics, and tables of them over folders of images."""
