"""What cameras and files do to a picture: defocus, motion, low resolution, exposure, colour, noise, sharpening, compression."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8


def _motion(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Blur along a line: of a moving camera."""
    kernel = np.zeros((15, 15), np.float32)
    reach = rng.normal(0, 4, 2)
    cv2.line(kernel, (int(7 - reach[0] / 2), int(7 - reach[1] / 2)), (int(7 + reach[0] / 2), int(7 + reach[1] / 2)), 1)
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1))


def _low_resolution(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    f = np.exp(rng.uniform(np.log(0.28), np.log(0.9)))
    small = cv2.resize(image, (max(8, int(width * f)), max(8, int(height * f))), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        small = compress(rng, small)
    way = rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.6, 0.35, 0.05])
    return cv2.resize(small, (width, height), interpolation=int(way))


def _develop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Exposure, contrast, white balance, saturation."""
    x = np.arange(256) / 255
    mean = np.clip(cv2.mean(image)[1] / 255, 0.03, 0.97)
    towards = np.log(np.clip(rng.normal(0.45, 0.1), 0.2, 0.7)) / np.log(mean)  # the power that brings the mean to a usual exposure
    bent = x ** np.clip(towards ** rng.uniform(0, 1) * np.exp(rng.normal(0, 0.12)), 0.35, 2.5)
    contrast = rng.normal(0, 0.35)
    bent = bent + contrast * bent * (1 - bent) * (2 * bent - 1)  # an S, or its contrary
    warmth = np.exp(rng.normal(0, 0.07) * np.array([1, 0, -1.0]) + rng.normal(0, 0.02, 3))
    table = np.clip(255 * bent[:, None] * warmth * rng.uniform(0.88, 1.18) + rng.normal(0, 8), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    kind = rng.random()
    if kind < 0.07:
        return cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
    if kind < 0.45:
        grey = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
        amount = float(rng.uniform(0.25, 1.25))
        image = cv2.addWeighted(image, amount, grey, 1 - amount, 0)
    return image


def _noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Sensor noise, grey or coloured, fine or smeared by what the camera does against it."""
    noise = np.empty(image.shape[:2] if rng.random() < 0.4 else image.shape, np.int16)
    cv2.randn(noise, 0, float(np.exp(rng.uniform(np.log(1.5), np.log(16)))))
    if rng.random() < 0.4:
        noise = cv2.blur(noise, (2, 2)) * 2
    if noise.ndim == 2:
        noise = cv2.merge([noise] * 3)
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def compress(rng: np.random.Generator, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """There and back through JPEG, whose blocks and smeared colours are those of video too."""
    quality = int(np.exp(rng.uniform(np.log(12), np.log(92))))
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def degrade(rng: np.random.Generator, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """One picture as some camera and file would have it."""
    cv2.setRNGSeed(int(rng.integers(2**31)))  # cv2.randn draws from OpenCV's own state
    blur = rng.random()
    if blur < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    elif blur < 0.3:
        image = _motion(rng, image)
    if rng.random() < 0.12:
        height, width = image.shape[:2]
        haze = np.clip(255 * rng.uniform(0.1, 0.45) * np.linspace(rng.uniform(0, 1), rng.uniform(0, 1), height), 0, 255).astype(np.uint8)
        image = cv2.add(image, cv2.merge([np.repeat(haze[:, None], width, 1)] * 3))
    image = _develop(rng, image)
    if rng.random() < 0.4:
        image = _low_resolution(rng, image)
    if rng.random() < 0.45:
        image = _noise(rng, image)
    if rng.random() < 0.2:
        image = cv2.addWeighted(image, 1.6, cv2.GaussianBlur(image, (0, 0), 1.2), -0.6, 0)  # sharpened
    if rng.random() < 0.4:
        image = compress(rng, image)
    return image
