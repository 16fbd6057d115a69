"""Parts of the foreground renderer: shapes and strands in NumPy, the scene in Blender, the finished cut-out."""
