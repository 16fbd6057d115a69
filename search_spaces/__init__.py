"""The search spaces, installed as `atldas.search_spaces`: `Space.load(name)` finds them from any directory."""
