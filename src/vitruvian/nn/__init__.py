"""Network blocks that more than one system uses, in PyTorch: backbones, necks, attention.

Blocks know shapes and nothing else: no system, no data set, no checkpoint file. What only one paper needs lives in `vitruvian.systems`.
Attribute names follow the published checkpoints, so that most files load without renaming.
"""
