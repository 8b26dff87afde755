"""Detection: networks from an image to boxes of people and of their parts."""
