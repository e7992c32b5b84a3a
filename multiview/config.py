"""Settings of a fit: what the user chooses."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from multiview.map_settings import DepthScale, Frame, MapSettings
from multiview.recipes import (
    RECIPES,
    AdamRecipe,
    Recipe,
    Schedule,
    SdfDiffRecipe,
    for_photographs,
    from_prior,
    from_sphere,
)
from sdfrender.errors import InputError
from sdfrender.options import Flag
from sdfrender.system import processors

Start = Literal["hull", "sphere"]
Preset = Literal["best", "fast", "adam", "sdfdiff"]
Loss = Literal["l2", "huber"]
Exposure = Literal["auto", "same", "per-view"]
Switch = Literal["auto", "on", "off"]
Device = Literal["cpu", "cuda", "auto"]
Logs = Literal["tensorboard"]
Silhouettes = Literal["auto", "files", "none"]
Colors = Literal["auto", "constant", "albedo", "radiance", "view"]
Up = Literal["x", "y", "z", "-x", "-y", "-z"]
FixedTo = Literal["scene", "camera", "view"]  # what a light is fixed to

HUBER = 0.05  # a residual beyond which --loss huber counts linearly


@dataclass(frozen=True)
class FitConfig:
    """All settings of a fit; its fields are the options of `multiview fit`.

    `recipe()` resolves what is left to the preset.

    Args:
        scene: The scene's folder, or its camera file.
        out: The run folder to write. Default: runs/SCENE, or runs/SCENE-2 and so on if that holds
            a run; with --resume the last of them.
        preset: best (Gauss-Newton), fast (half its time), adam (first order, a few views at a
            time), or sdfdiff (the method of that paper; use it with --init sphere).
        init: Start from the visual hull of the masks, or from a sphere.
        resolution: Lattice samples along the longest side of the box, up to 1024. What memory is
            too small for is refused before work starts, with the largest that would fit.
        silhouettes: Where the object is known from. files: mask files or alpha channels. none:
            nothing; the surface in a box is found where photographs agree with each other, for
            walls, ground and what stands on it. That needs texture, neighbouring views within about
            30 degrees, and a box: --bounds, the scene's own, or one about COLMAP's points. auto:
            files where there are any masks, else the colour of a plain background, else none.
        closed: With silhouettes none: keep the mesh watertight; metrics.json tells how much of it
            no view saw, and it is grey in mesh.ply. Otherwise that part is cut away.
        train_views: Views to fit: names, globs or slices over the name-sorted views, separated by
            commas (2::3, front_*). The others are held out for metrics.json. Default: all, or the
            scene's own training split.
        refine_cameras: Also move the cameras of the views to fit, each by a small rotation and
            translation, where that agrees better with the photographs; cameras.json tells how far.
        refine_intrinsics: With refine_cameras: focal length and principal point too, the same
            correction for all views.
        exposure: same, or per-view: the camera chose its own exposure or white balance for each
            photograph; exposures.json tells the gains, and photographs are compared at a common
            exposure (those held out too: each by its own best gain). auto: the same, unless the
            light is not known and gains predict views that were held back far better.
        stereo: on: the shape is first found where photographs agree with each other, patch by
            patch, and their colours are fitted last. That helps where lamps move, shadows and
            highlights fall or exposures differ, and needs texture and neighbouring views within
            about 30 degrees. off: colours alone, which tell more of plain surfaces in an even
            light. auto: on where the light is not known and changes from view to view; else beside
            the colours in the last passes, where photographs predict each other better than colours
            and light predict them.
        colors: off: the shape comes from outlines and from depth or normal maps alone; colours are
            fitted to it afterwards, for the mesh to have. on: from the photographs' colours too.
            auto: on, unless there are maps and the pictures are black.
        depth_scale: metric: depth maps are in world units. fit: each map has a scale and a shift of
            its own, which are found with the shape (monocular networks; depth, not its inverse).
        depth_unit: World units of a step of a 16-bit PNG depth map, or of a number in a .npy one.
            Default: the scene's depth_unit_scale_factor, else 0.001 (millimetres in a world in
            metres). Maps in .npz and .exr files are in world units.
        normal_frame: What normal maps are in: opengl (the camera's x right, y up, z towards it),
            opencv (x right, y down, z away from it), or world.
        light: auto (the scene's own if it states one, else whichever of the following three
            predicts views that were held back, the simplest if in doubt), estimate (order-2
            spherical harmonics fixed to the scene), camera (the same fixed to the camera: the
            object was on a turntable, or the lamp beside the lens), per-view (another light in each
            photograph), scene, or a .json file with the keys of a scene's lighting.
        appearance: What the light falls on: constant (one colour), albedo (a lattice of colours),
            radiance (a lattice of colours without light), or auto: whichever predicts views that
            were held back, the simplest if in doubt. view: as auto, and once the surface is done,
            what the photographs show beyond that is added to it: finer colours, and colours that
            depend on where one looks from (highlights, shadows that move). auto adds it too, where
            the light is not known and views that were held back are predicted better with it. It
            changes no surface, only pictures of it.
        schedule: Of adam, views per update: shuffled batches, or SDFDiff's greedy order.
        loss: l2, or huber: residuals beyond 0.05 count linearly (highlights, shadows, wrong masks).
        bounds: World box of the lattice, min x y z then max x y z. Default: the scene's, or from
            the masks.
        mask_threshold: Take pixels brighter than this fraction of full scale as the object.
        image_size: Longest side of the images to load, in pixels; larger ones are averaged down.
        max_pixels: Refuse pictures with more pixels than this, as they are stored.
        seed: Of the order of the views.
        threads: Default: all cores, one for adam.
        device: Where the steps by colours are computed: cpu; cuda, an NVIDIA card (needs the extra
            `cuda` or `cuda12` and a torch for that CUDA); or auto, the card if it can be used. Of
            --preset best and fast with silhouettes. On the card are rendering, derivatives, the
            solver, distances, colours and light of a step. On the CPU are the hull, what is opened
            and removed between levels, the choice of colours, comparing photographs with each
            other, refining cameras, and the results. It was tested in a simulator and has never
            run on a card; that is why cpu is the default.
        prior: Weights of a DeepSDF network, or the run folder of its training; for --preset best
            or fast.
        prior_up: Axis of the scene along which the network's shapes stand, about.
        prior_hold: How strongly the lattice is held to the network's shape; 0 only starts from it.
        resume: Continue the run in OUT from its last complete pass.
        texture: Also write textured.glb: the mesh with the photographs as its texture (needs the
            extra `texture`). `multiview texture` does it later.
        materials: Also solve for base colour, roughness and light of the finished surface: writes
            materials.safetensors, materials.glb and environment.hdr, as `multiview materials` does
            later (materials.glb needs the extra `texture`).
        logs: Also write losses.csv for TensorBoard (needs the extra `logs`); then
            tensorboard --logdir OUT shows it.
    """

    scene: Positional[Path]
    out: Path | None = None
    preset: Preset = "best"
    init: Start = "hull"
    resolution: int = 64
    silhouettes: Silhouettes = "auto"
    closed: Flag = False
    train_views: str | None = None
    refine_cameras: Flag = False
    refine_intrinsics: Flag = False
    exposure: Exposure = "auto"
    stereo: Switch = "auto"
    colors: Switch = "auto"
    depth_scale: DepthScale = "metric"
    depth_unit: float | None = None
    normal_frame: Frame = "opengl"
    light: str = "auto"
    appearance: Colors = "auto"
    schedule: Schedule | None = None
    loss: Loss = "l2"
    bounds: tuple[float, float, float, float, float, float] | None = None
    mask_threshold: float | None = None
    image_size: int = 800
    max_pixels: int = 250_000_000
    seed: int = 0
    threads: int | None = None
    device: Device = "cpu"
    prior: Path | None = None
    prior_up: Up = "y"
    prior_hold: float = 0.01
    resume: Flag = False
    texture: Flag = False
    materials: Flag = False
    logs: Logs | None = None

    def __post_init__(self) -> None:
        if self.out is None:
            scene = self.scene.parent if self.scene.is_file() else self.scene
            object.__setattr__(self, "out", vacant_run(scene.resolve().name, self.resume))
        if self.resolution < 8:
            raise InputError(f"--resolution: need at least 8 samples, got {self.resolution}")
        if self.resolution > 1024:
            raise InputError(f"--resolution: need at most 1024 samples, got {self.resolution}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"--threads: need at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed: need a number from 0 to 2^63 − 1, got {self.seed}")
        if self.schedule is not None and self.preset != "adam":
            raise InputError(
                f"--schedule: an order of views belongs to --preset adam, got {self.preset} "
                "(Gauss-Newton takes all views at once, sdfdiff has its own)"
            )
        if self.image_size < 16:
            raise InputError(f"--image-size: need at least 16 pixels, got {self.image_size}")
        if self.max_pixels < 1:
            raise InputError(f"--max-pixels: need at least 1, got {self.max_pixels}")
        if self.device == "cuda":
            self.need_steps_on_a_card()
        if self.preset == "sdfdiff" and self.refine_cameras:
            raise InputError("--refine-cameras: --preset sdfdiff takes cameras as they are")
        if self.silhouettes == "none":
            self.need_no_silhouettes()
        if self.refine_intrinsics and not self.refine_cameras:
            raise InputError("--refine-intrinsics: needs --refine-cameras as well")
        if self.prior is not None and self.preset not in ("best", "fast"):
            raise InputError(f"--prior: need --preset best or fast, got {self.preset}")
        if self.prior is not None and self.init != "hull":
            raise InputError(f"--prior: a family has its own start, got --init {self.init}")
        if not 0 <= self.prior_hold < math.inf:
            raise InputError(f"--prior-hold: need a number of at least 0, got {self.prior_hold}")
        if self.exposure == "per-view" and self.light == "per-view":
            raise InputError("--exposure: need same with --light per-view, which has them in it")
        if self.stereo == "on" and self.preset not in ("best", "fast"):
            raise InputError(f"--stereo: need --preset best or fast, got {self.preset}")
        if self.colors == "off" and not self.fits_maps:
            raise InputError(f"--colors off: need --preset best or fast, got {self.preset}")
        if self.colors == "off" and self.stereo == "on":
            raise InputError("--colors off: --stereo on compares photographs' colours, need one")
        if self.depth_unit is not None and not 0 < self.depth_unit < math.inf:
            raise InputError(f"--depth-unit: need a positive number, got {self.depth_unit}")
        if self.preset == "sdfdiff" and self.exposure == "per-view":
            raise InputError("--exposure: --preset sdfdiff takes photographs as they are")
        if self.preset == "sdfdiff" and self.appearance not in ("auto", "constant"):
            raise InputError(
                f"--appearance: --preset sdfdiff has one colour, got {self.appearance}"
            )

    def need_no_silhouettes(self) -> None:
        """Refuse what cannot be done where nothing says what the object is.

        Raises:
            InputError: names the option.
        """
        where = "without silhouettes (--silhouettes none)"
        if self.preset not in ("best", "fast"):
            raise InputError(f"--preset: need best or fast {where}, got {self.preset}")
        if self.stereo == "off":
            raise InputError(f"--stereo off: there is nothing else to find a shape by {where}")
        if self.init != "hull":
            raise InputError(f"--init {self.init}: a fit {where} has a start of its own")
        if self.prior is not None:
            raise InputError(f"--prior: need silhouettes; there are none {where}")
        if self.refine_cameras:
            raise InputError(f"--refine-cameras: need silhouettes; cameras stay as given {where}")
        if self.mask_threshold is not None:
            raise InputError(f"--mask-threshold: makes masks, which are not used {where}")

    def need_steps_on_a_card(self) -> None:
        """Refuse what has no steps that a card could compute.

        Raises:
            InputError: names the option.
        """
        if self.preset not in ("best", "fast"):
            raise InputError(f"--device cuda: need --preset best or fast, got {self.preset}")
        if self.silhouettes == "none":
            raise InputError("--device cuda: need silhouettes, got --silhouettes none")
        if self.colors == "off":
            raise InputError("--device cuda: need colours, got --colors off")

    @property
    def folder(self) -> Path:
        """The run folder: `out`, which is known once the settings are made."""
        assert self.out is not None
        return self.out

    @property
    def num_threads(self) -> int:
        """Of the renderer: by default all processors at hand, but one for first-order methods.

        Their many short steps in torch are many times slower on two threads than on one when
        another program wants the cores.
        """
        if self.threads is not None:
            return self.threads
        return 1 if self.preset in ("adam", "sdfdiff") else processors()

    @property
    def maps(self) -> MapSettings:
        """How depth and normal maps are read."""
        return MapSettings(self.depth_scale, self.depth_unit, self.normal_frame)

    @property
    def fits_maps(self) -> bool:
        """Whether depth and normal maps are fitted, where there are any."""
        return self.preset in ("best", "fast")

    def recipe(self, photographs: bool = False) -> Recipe:
        """The preset's recipe with the choices made here.

        Args:
            photographs: the light is not known.
        """
        recipe = RECIPES[self.preset](self.resolution)
        if self.schedule is not None and isinstance(recipe, AdamRecipe):
            recipe = replace(recipe, schedule=self.schedule)
        if isinstance(recipe, SdfDiffRecipe):
            if self.loss != "l2":
                raise InputError(f"--loss: --preset sdfdiff has its own, got {self.loss}")
            return recipe
        if photographs:
            recipe = for_photographs(recipe)
        if self.prior is not None:
            recipe = from_prior(recipe)
        if self.loss == "huber":
            recipe = replace(recipe, weights=replace(recipe.weights, huber=HUBER, mask_huber=HUBER))
        return from_sphere(recipe) if self.init == "sphere" else recipe


def vacant_run(name: str, resume: bool) -> Path:
    """The first of runs/NAME, runs/NAME-2, … that holds no run; to resume, the last that does."""
    before = folder = Path("runs") / name
    for number in itertools.count(2):
        if not folder.exists():
            break
        before, folder = folder, Path("runs") / f"{name}-{number}"
    return before if resume else folder
