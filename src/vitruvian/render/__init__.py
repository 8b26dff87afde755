"""Our own z-buffer rasterisers and shading. They know meshes, not people: bodies live in `body`, clothes in `synth`, overlays in `draw`.

`surface` and `shade` need numpy alone. `raster`, which label images are drawn with by the million, needs numba (extra `[synth]`).
"""
