"""What refuses a model and what warns of it, on made-up models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multiview.photographs import trust
from multiview.photographs.trust import Links, Verdict


class Pose:
    """World to camera, as the library gives it."""

    def __init__(self, R: np.ndarray) -> None:
        self.rotation = SimpleNamespace(matrix=lambda: R)


def model(names: list[str], turn: Any = None, scale: float = 1.0, focal: float = 900.0,
          k: float = 0.0, move: float = 0.0) -> Any:  # fmt: skip
    """Cameras on an arc, as a whole turned and scaled; the first of them moved aside."""
    whole = np.eye(3) if turn is None else turn
    images = {}
    for n, name in enumerate(names):
        R = Rotation.from_euler("y", 10 * n, degrees=True).as_matrix()
        centre = R @ (0.0, 0.1 * (n % 3), -5.0) + (move * (n == 0), 0, 0)
        c2w = whole @ R
        images[n] = SimpleNamespace(
            name=name,
            has_pose=True,
            camera_id=0,
            cam_from_world=lambda c2w=c2w: Pose(c2w.T),
            projection_center=lambda centre=centre: scale * whole @ centre + (3, 4, 5),
        )
    camera = SimpleNamespace(width=1000, height=800, params=np.array((focal, 500, 400, k)))
    return SimpleNamespace(
        images=images, cameras={0: camera}, num_reg_images=lambda: len(names)
    )  # fmt: skip


def names(count: int) -> list[str]:
    return [f"{n}.jpg" for n in range(count)]


def links(count: int, still: float = 0.0) -> Links:
    every = names(count)
    pairs = {(a, b): 99 for i, a in enumerate(every) for b in every[:i]}
    return Links(every, pairs, 0.1, still)


TURN = Rotation.from_euler("xyz", (30, 50, -70), degrees=True).as_matrix()


def test_differences_do_not_see_a_similarity() -> None:
    far, turned, shared = trust.differences(model(names(6)), model(names(6), TURN, 3.5))
    assert far == pytest.approx(0, abs=1e-9)
    assert turned == pytest.approx(0, abs=1e-4)
    assert shared == 6


def test_differences_see_one_camera_moved() -> None:
    nearest = 2 * 5 * np.sin(np.radians(5))  # about, between neighbours
    far, _, _ = trust.differences(model(names(6), move=0.5 * nearest), model(names(6), TURN))
    assert 0.15 < far < 0.5  # the similarity takes some of it


def test_a_shift_turn_and_zoom_of_the_picture_is_no_motion() -> None:
    random = np.random.default_rng(0)
    places = random.uniform(0, 1000, (200, 2))
    turn = 1.1 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    others = places @ turn.T + (40, -90)
    others[:60] += random.uniform(-80, 80, (60, 2))  # the object, which turned
    assert trust.moved_apart(places, others) == pytest.approx(0, abs=1e-6)
    depths = random.uniform(4, 6, (200, 1))
    assert trust.moved_apart(places, places + 400 / depths * (1, 0)) > 4  # a camera that moved


def test_a_right_model_is_believed() -> None:
    verdict = trust.judge([model(names(12))], links(12), masked=False)
    assert verdict.refusal is None
    assert verdict.warnings == []


REFUSED: dict[str, tuple[list[Any], Links, str]] = {
    "no model": ([], links(5), "no two of the 5 pictures"),
    "few placed": ([model(names(4))], links(12), "4 of 12 pictures placed; unplaced: 4.jpg, 5.jpg"),
    "a still background": ([model(names(12))], links(12, still=0.6), "turntable"),
    "no such lens": ([model(names(12), focal=29517.0)], links(12), "which no lens has"),
    "distortion": ([model(names(12), k=-20.0)], links(12), "distortion k of -20"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    models, between, needle = REFUSED[case]
    verdict = trust.judge(models, between, masked=False)
    assert verdict.refusal is not None
    assert needle in verdict.refusal


def test_with_masks_a_still_background_is_no_matter() -> None:
    assert trust.judge([model(names(12))], links(12, still=0.6), masked=True).refusal is None


def test_warnings() -> None:
    bent = trust.judge([model(names(12), k=-0.4)], links(12), masked=True)
    assert bent.refusal is None
    assert "distortion k of -0.4" in bent.warnings[0]
    few = trust.judge([model(names(8))], links(12), masked=False)
    assert few.refusal is None
    assert "8 of 12 pictures placed; unplaced: 8.jpg" in few.warnings[0]
    assert "(--masks)" in few.warnings[0]
    nearly = trust.judge([model(names(11))], links(12), masked=False)
    assert "11 of 12" in nearly.warnings[0]
    assert "--masks" not in nearly.warnings[0]


def test_two_groups_are_named() -> None:
    other = model(names(12)[8:])
    told = trust.judge([model(names(8)), other], links(12), masked=False).warnings[0]
    assert "4 of them fit together" in told
    assert "between '7.jpg' and '8.jpg'" in told


def test_a_second_run_is_worth_it_where_there_is_doubt() -> None:
    assert not trust.worth_another([model(names(20))], links(20))
    assert trust.worth_another([model(names(8))], links(8))
    assert trust.worth_another([model(names(15))], links(20))
    assert trust.worth_another([model(names(20), k=0.3)], links(20))
    weak = Links(names(20), {("0.jpg", "1.jpg"): 50}, 0, 0)
    assert trust.worth_another([model(names(20))], weak)


def judged_again(count: int, other: Any) -> Verdict:
    verdict = Verdict()
    trust.judge_again(model(names(count)), other, verdict)
    return verdict


def test_a_second_run_that_agrees() -> None:
    verdict = judged_again(4, model(names(4), TURN, 0.2, focal=910))
    assert verdict.refusal is None
    assert verdict.warnings == []


def test_a_second_run_that_does_not() -> None:
    assert "found no cameras" in str(judged_again(8, None).refusal)
    assert "centres by" in str(judged_again(8, model(names(8), move=2.0)).refusal)
    assert "only 3 of 8" in str(judged_again(8, model(names(3))).refusal)
    part = judged_again(20, model(names(14)))
    assert part.refusal is None
    assert "6 of 20 placed pictures" in part.warnings[0]
    assert "14.jpg, 15.jpg" in part.warnings[0]
    assert "900 and 700 pixels" in str(judged_again(4, model(names(4), focal=700)).refusal)
    several = judged_again(8, model(names(8), focal=700))
    assert several.refusal is None
    assert "900 and 700 pixels" in several.warnings[0]
