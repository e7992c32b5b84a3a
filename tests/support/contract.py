"""Names that users rely on, written out once."""

REFERENCE = [
    "chamfer_l1",
    "hausdorff",
    "f_score_0.5pct",
    "f_score_1pct",
    "normal_consistency",
    "volume_iou",
]
