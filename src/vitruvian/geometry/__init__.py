"""Geometry on arrays: boxes so far; cameras, rotations and alignment come here. Not here: anything that knows a network or a file."""
