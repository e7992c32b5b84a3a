"""What a reader's error says about a scene, as a finding."""

from __future__ import annotations

import re

from multiview.check.findings import Finding

LACK = r"no such file|is not there|are not there"
KINDS = (
    (r"turned by 90 degrees", "pictures turned",
     "store them as they were calibrated: something applied or dropped their EXIF orientation"),
    (LACK, "missing pictures",
     "put the pictures back, or take their names out of the camera file"),
    (r"'[wh]' is .* the image has|pixels as camera|mask of the size of its image",
     "intrinsics of another size",
     "give the pictures, masks and intrinsics of one size: something resized, cropped or turned "
     "some of them"),
    (r"mirrored or scaled", "not a camera",
     "make each pose a rotation and a position: right-handed, without scale"),
    (r"cannot decode|complete image|file is empty|cut short", "damaged file",
     "copy it again from where it came"),
    (r"camera file", "no cameras",
     "run `multiview cameras` on the photographs, or `multiview fit` on their folder"),
)  # fmt: skip


def is_lack(note: str) -> bool:
    """Whether a reader's note tells of pictures that it went on without."""
    return re.search(LACK, note) is not None


def unreadable(error: str) -> Finding:
    """A finding for an error that ended the reading of a scene, or of a view."""
    for pattern, kind, advice in KINDS:
        if re.search(pattern, error):
            return Finding(kind, error, advice)
    return Finding("cannot be read", error, "mend what it names")
