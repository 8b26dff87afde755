"""Joint angles through a musculoskeletal model: the OpenCapBench benchmark, and our own path from a take to OpenSim's files.

`opencapbench` is the published benchmark, with a corrected mode; `opensim_tools` scales models and solves inverse kinematics through the
`opensim` wheel (extra `[biomech]`), `converged` is our solver, `marker_sets` has the markers, `trial_checks` what can be wrong with a
trial, `isolated` runs trials in processes of their own, `opensim_report` goes from a take to .trc, .osim, .mot and a page.
Dense keypoints for it: `marker_points` reads sets of named surface points, `marker_pictures` draws them, `marker_labels` labels synthetic
people with them, `synthpose` has the networks; only the last two need torch. Angles without OpenSim are in `vitruvian.biomechanics`.
"""
