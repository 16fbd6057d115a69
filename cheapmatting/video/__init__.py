"""Mattes of videos: trimaps carried from frame to frame, steadied alphas, video files."""
