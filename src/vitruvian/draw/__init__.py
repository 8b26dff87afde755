"""Pictures of results: skeletons (`overlay`) and meshes (`mesh`) over the images that they came from, ControlNet's pose pictures.

Not here: reading and writing of images (`media`), shading of meshes (`render`).
"""
