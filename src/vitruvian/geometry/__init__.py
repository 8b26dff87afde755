"""Geometry on arrays: boxes, cameras with lenses, triangulation, alignment, people matched across cameras, clocks, bundle adjustment.

Not here: anything that knows a network or a file (calibration files: `formats.calibration`), and rotations of bodies (`body`).
"""
