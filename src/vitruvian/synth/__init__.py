"""Synthetic people with exact labels: bodies (`person`), poses (`poses`), label images on disk (`store`, `generate`), colours (`paint`),
backgrounds, and the training pictures made of them (`scene`). `landmarks` says where the 133 keypoints lie on the body.

Needs the extra `[synth]`. Training is in `vitruvian.train`; nothing of the ground floor imports this.
"""
