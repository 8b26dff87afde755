"""Files of other tools, one module per format, each reads and writes: coco, openpose.

Not here: the take's own file (take.py), pictures and video (media/), drawing (draw/).
"""
