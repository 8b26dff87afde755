"""Published systems in PyTorch, one file per paper, grouped by task: network, losses, and the reader of the published checkpoint.

Shared blocks live in `vitruvian.nn`, pre- and post-processing (numpy) in `vitruvian.codecs`, the training loop in `vitruvian.train`.
`catalogue` tells which system a checkpoint is of. `checkpoint` maps foreign state dicts onto our modules; `export` writes ONNX,
which the ground floor then runs without torch.
"""
