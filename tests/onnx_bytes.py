"""Bytes that pass for a network, for tests that never run it."""


def onnx_bytes(content=b"weights", size=0):
    """The least that passes for an ONNX file: a version and a graph of `content`, repeated to about `size` bytes."""
    graph = content * max(1, size // len(content))
    length, left = bytearray(), len(graph)
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return b"\x08\x08\x3a" + bytes([*length, left]) + graph
