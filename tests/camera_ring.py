"""Cameras in a ring that look at one place, z up: four of them see a box of 4 x 4 x 2 m."""

import numpy as np

from vitruvian.geometry.camera import Camera


def looking_at(position, target=(0, 0, 1), size=(960, 544), distortion=()):
    """A camera at `position` that looks at `target`, z up."""
    forward = np.subtract(target, position, dtype=float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    intrinsics = np.array([[700.0, 0, size[0] / 2], [0, 710, size[1] / 2], [0, 0, 1]])
    return Camera(intrinsics, rotation, -rotation @ np.array(position, float), np.array(distortion), size)


def ring(count=4, **options):
    angles = 2 * np.pi * np.arange(count) / count + 0.3
    return [looking_at((5 * np.cos(a), 5 * np.sin(a), 2.0), **options) for a in angles]
