"""Experiments that one command runs, installed as `cheapmatting.experiments`."""
