"""2D keypoints: networks from a person crop, or from a whole image, to keypoints in pixels."""
