"""3D pose: networks that lift sequences of 2D keypoints, and that find people in space from several calibrated cameras.

Meshes live in `systems.mesh`; triangulation without a network in `geometry`.
"""
