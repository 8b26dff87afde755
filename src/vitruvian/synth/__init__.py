"""Synthetic people with exact labels, for training: what is drawn once, and what is drawn anew at each use.

Once, into a store on disk (`store`, `generate`): Anny bodies with clothes (`wardrobe`, `outfit`), poses (`poses`, `activities`, `motion`),
things (`props`) and cameras (`camera`), rendered to label images with all labels in two and three dimensions (`person`, `planes`).
At each use: colours and light (`paint`, `fabric`), backgrounds (`backgrounds`, `scenery`), crowds, occluders (`occluders`) and what the
camera does (`optics`), put together to crops and scenes (`scene`); for other tools all of it is written down as tars of pictures
(`pictures`). `look` switches ingredients off; `landmarks` says where the 133 keypoints lie on the body; `clip` makes films.

Needs the extra `[synth]`. Training is in `vitruvian.train`; nothing of the ground floor imports this.
"""
