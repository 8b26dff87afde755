"""Training: one loop (`loop`), recipes (`recipe`, `run`) with what they know of each system (`tasks`, `detectors`), batches (`feed`,
`deep`; `scenes` for detectors), stick figures to try them on (`figures`); the embedded networks (`defaults`) and their export (`package`).

Networks and losses are in `vitruvian.systems`; pictures come from `vitruvian.synth`. Needs the extras `[torch,synth]`.
"""
