"""Whole-body meshes from one picture: networks that give the parameters of a body model, for people in one camera frame.

Body models themselves live in `vitruvian.body`; keypoints without a mesh in `systems.pose2d`.
"""
