"""Pictures of results: skeletons over the images that they came from.

Here: `draw_people`. Not here: reading and writing of images (`media`), shading of meshes (`render`).
"""
