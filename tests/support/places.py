"""Where the project is, the data that tests may use and skip without, names that users rely on."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

# A run's comparison with a mesh, as metrics.json has it.
REFERENCE = [
    "chamfer_l1",
    "hausdorff",
    "f_score_0.5pct",
    "f_score_1pct",
    "normal_consistency",
    "volume_iou",
]
