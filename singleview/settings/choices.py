"""What an option may be, where it is one of a few words."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["sdfdiff", "occupancy", "deepsdf"]
Size: TypeAlias = Literal["small", "paper"]
Input: TypeAlias = Literal["image", "points", "voxels", "none", "index"]
Conditioning: TypeAlias = Literal["batch-norm", "input"]
Decoder: TypeAlias = Literal["code", "conv"]
Sampling: TypeAlias = Literal["uniform", "surface", "mixed"]
Supervision: TypeAlias = Literal["images", "shape"]
Augmentation: TypeAlias = Literal["auto", "made-up", "fitted", "flip", "none"]
Recipe: TypeAlias = Literal["paper", "ours"]
Where: TypeAlias = Literal["auto", "memory", "disk"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
RigName: TypeAlias = Literal["elevations", "paper"]

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SPLIT_RULES = ("protocol", "random", "all")  # or a JSON file
