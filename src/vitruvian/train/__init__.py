"""Training: one loop (`loop`), batches (`feed`), the recipes of the embedded networks (`defaults`), and their export (`package`).

Networks and losses are in `vitruvian.systems`; pictures come from `vitruvian.synth`. Needs the extras `[torch,synth]`.
"""
