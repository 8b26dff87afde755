"""Where bfloat16 is faster than float32: on GPUs, and on processors with instructions for it. Others are two to three times slower so."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def half(device: torch.device, wanted: bool = True) -> torch.autocast:
    """Computing in bfloat16, where it is wanted and faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))
