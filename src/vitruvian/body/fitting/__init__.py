"""How bodies are fitted: to pictures (`views`) and scans (`scan`); to points by `body/fit.py`, which these start from.

The rest are the pieces: points of a posed body and their derivatives without its mesh (`moments`, `jacobian`), the pose prior
(`poseprior`), the analytic start (`start`), Levenberg-Marquardt in batches (`solve`), and what is minimised (`terms`, `temporal`,
`expression`). All in numpy.
"""
