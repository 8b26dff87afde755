"""Our own z-buffer rasteriser, for labels and shading. It knows meshes, not people: bodies and clothes live in `synth` and `body`.

Needs numba (extra `[synth]`).
"""
