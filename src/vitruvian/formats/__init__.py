"""Files of other tools, one module per format, read and written unless it says otherwise.

Keypoints: npz (our own), coco, coco_results, coco_wholebody, openpose, controlnet, tables (CSV, Parquet), rerun (.rrd, write only).
Motion: trc, mot (and sto), bvh, acclaim (AMC, read only); rig makes a moving skeleton from 3D keypoints.
Bodies and meshes: gltf, meshes, amass, published_bodies; body_takes makes takes of them. `convert` knows the formats of takes by suffix.

Not here: pictures and video (media/), how poses are drawn (draw/).
"""
