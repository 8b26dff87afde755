"""What happens to numbers before and after a network, in numpy and OpenCV: crop, normalise, encode, decode, suppress duplicates.

Both backends (ONNX Runtime and PyTorch) and the training loop use these same functions, so that they can't differ.
No network, file or card is known here; `vitruvian.runtime` joins the two.
"""
