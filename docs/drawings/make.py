"""The drawings of the documentation, one function each, computed from what they show.

python docs/drawings/make.py     (conf.py does it at every build)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

INK, BLUE, RED, GREY = "#333333", "#2878b5", "#c44e52", "#bbbbbb"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "sdfrender", "font.size": 10, "text.color": INK}


def lattice(ax: Axes) -> None:
    """A circle as the zero set of samples on a coarse grid."""
    n = 9
    x = np.linspace(-1, 1, n)
    X, Y = np.meshgrid(x, x)
    phi = np.hypot(X, Y) - 0.62
    fine = np.linspace(-1, 1, 401)
    ax.contour(fine, fine, bilinear(phi, fine), levels=[0], colors=BLUE, linewidths=2.5)
    ax.scatter(X, Y, c=np.where(phi < 0, RED, GREY).ravel(), s=30, zorder=3)
    for i, j in ((4, 4), (4, 6), (4, 7), (6, 6), (1, 1)):
        ax.annotate(f"{phi[i, j]:+.2f}", (x[j], x[i]), (4, 5), textcoords="offset points")
    ax.set_title("samples φ, negative inside; the surface is φ = 0")


def bilinear(phi: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """The bilinear function of `[n, n]` samples of [−1, 1]² on a finer grid."""
    n = len(phi)
    at = (fine + 1) / 2 * (n - 1)
    low = np.minimum(at.astype(int), n - 2)
    f = at - low
    rows = phi[low] * (1 - f)[:, None] + phi[low + 1] * f[:, None]
    return rows[:, low] * (1 - f) + rows[:, low + 1] * f


def coverage(ax: Axes) -> None:
    """φ/t along a ray that passes an ear and then enters the body."""
    t = np.linspace(1, 4, 600)
    ear, body = np.hypot(t - 2.0, 0.28) - 0.25, np.hypot(t - 3.5, 0.1) - 0.5
    phi = np.minimum(ear, body)
    ax.plot(t, phi / t, color=BLUE, lw=2)
    ax.axhline(0, color=INK, lw=1)
    p = 0.06
    ax.axhspan(-p / 2, p / 2, color=GREY, alpha=0.35, lw=0)
    ax.text(1.02, p / 2 + 0.01, "a pixel's footprint p")
    k = int(np.argmin(np.where(t < 2.6, phi / t, 9)))
    alpha = 0.5 - phi[k] / t[k] / p
    ax.plot(t[k], phi[k] / t[k], "o", color=RED)
    ax.annotate(f"graze: α = ½ − (φ/t)/p = {alpha:.2f}", (t[k], phi[k] / t[k]), (1.5, -0.07))
    hit = t[np.argmax(phi < 0)]
    ax.plot(hit, 0, "s", color=RED)
    ax.annotate("hit: the first root, α = 1", (hit, 0), (3.05, 0.07))
    ax.set(xlabel="distance t along the ray", ylabel="φ / t", ylim=(-0.17, 0.3))
    ax.set_title("two events of one ray, composited front to back")


def gradients(ax: Axes) -> None:
    """A sample of the cell grows, the surface moves, the hit slides along its ray."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    ax.plot(*corners.T, color=GREY, lw=1.5)
    before, after = (lambda x: 0.55 + 0.25 * x), (lambda x: 0.38 + 0.42 * x)
    x = np.linspace(0, 1, 50)
    ax.plot(x, before(x), color=BLUE, lw=2.5, label="φ = 0")
    ax.plot(x, after(x), color=BLUE, lw=2, ls="--", label="after dφ on one corner")
    o, d = np.array([0.95, 1.2]), np.array([-0.5, -0.85])
    ends = [hit_of(o, d, line) for line in (before, after)]
    ax.annotate("", o + 1.45 * d, o, arrowprops={"arrowstyle": "->", "color": INK})
    ax.plot(*ends[0], "o", color=RED)
    ax.plot(*ends[1], "o", color=RED, mfc="white")
    ax.annotate("dt = −w dφ / (∇φ·d)", (ends[0] + ends[1]) / 2, (0.02, 0.9), color=RED)
    ax.plot(0, 0, "o", color=INK)
    ax.annotate("dφ, its trilinear weight is w", (0, 0), (0.05, -0.1))
    ax.legend(loc="lower right", frameon=False)
    ax.set_title("re-attachment: how a hit moves with a sample")


def hit_of(o: np.ndarray, d: np.ndarray, line: Callable[[float], float]) -> np.ndarray:
    """Where the ray meets a straight line, whose height is `line` of x."""
    height = [(o + t * d)[1] - line((o + t * d)[0]) for t in (0.0, 1.0)]
    return o + d * height[0] / (height[0] - height[1])


def gauss_newton(ax: Axes) -> None:
    """Steps of the gradient and of Gauss-Newton on a long valley."""
    A = np.array([[1.0, 0.9], [0.0, 0.2]])
    H = A.T @ A
    x = np.linspace(-2.2, 2.2, 200)
    X, Y = np.meshgrid(x, x)
    E = (np.stack([X, Y], -1) @ A.T) ** 2
    ax.contour(X, Y, E.sum(-1) ** 0.5, levels=8, colors=GREY)
    at = path = np.array([[0.9, -1.9]])
    for _ in range(25):
        g = H @ at[-1]
        at = np.concatenate([at, [at[-1] - 1.8 / np.linalg.norm(H, 2) * g]])
    ax.plot(*at.T, ".-", color=BLUE, label="25 steps down the gradient")
    for _ in range(3):
        path = np.concatenate(
            [path, [path[-1] - np.linalg.solve(H + 0.003 * np.eye(2), H @ path[-1])]]
        )
    ax.plot(*path.T, "o-", color=RED, label="3 damped steps of Gauss-Newton")
    ax.legend(frameon=False, loc="lower left")
    ax.set_title("the same energy, the same start")


def stereo(ax: Axes) -> None:
    """Two views see a patch of the surface; where they agree tells its depth."""
    x = np.linspace(-1, 1, 200)
    ax.plot(x, 0.25 * np.cos(2 * x), color=BLUE, lw=2.5)
    point = np.array([0.0, 0.25])
    for k, eye in enumerate(([-0.55, 1.5], [0.55, 1.5])):
        e = np.array(eye)
        ax.plot(*np.stack([e, point]).T, color=INK, lw=1)
        ax.plot(*e, "^", color=INK, ms=10)
        ax.annotate(("view", "neighbour")[k], e, (8, 0), textcoords="offset points")
        away = point - e
        ax.plot(*np.stack([point, point + 0.35 * away]).T, color=GREY, lw=1, ls=":")
    for lift, ls in ((0.0, "-"), (0.22, "--")):
        ax.plot([-0.16, 0.16], [0.25 + lift] * 2, color=RED, lw=3, ls=ls)
    ax.annotate("where they agree: z + δ, δ = −B/G", (0.2, 0.22), color=RED)
    ax.annotate("patch now, at depth z", (0.2, 0.5), color=RED)
    ax.set_title("patches on the tangent plane, mean and contrast taken out")


def redistancing(ax: Axes) -> None:
    """A field with the right zeros and the wrong slope, before and after."""
    x = np.linspace(-1, 1, 21)
    phi = np.tanh(4 * (np.abs(x) - 0.52)) * (0.4 + 0.25 * np.sin(5 * x))
    h = x[1] - x[0]
    roots = [
        x[k] + h * phi[k] / (phi[k] - phi[k + 1]) for k in range(20) if phi[k] * phi[k + 1] < 0
    ]
    d = np.min([np.abs(x - r) for r in roots], 0) * np.sign(phi)
    ax.plot(x, phi, "o--", color=GREY, label="before: right only where φ = 0")
    ax.plot(x, d, "o-", color=BLUE, label="after: slope 1, the same surface")
    ax.plot(roots, [0] * len(roots), "o", color=RED, zorder=4)
    ax.axhline(0, color=INK, lw=1)
    ax.set(xlabel="x", ylabel="φ", ylim=(-0.6, 1.0))
    ax.legend(frameon=False, loc="upper center")
    ax.set_title("redistancing moves no root")


def rig(above: Axes, beside: Axes) -> None:
    """Where to stand: two rings of cameras, and some from above."""
    rings = ((24, 0.2, 1.0), (12, 0.75, 0.8))  # cameras, height, radius
    for ax in (above, beside):
        ax.add_patch(Circle((0, 0), 0.2, color=BLUE))
    for count, height, radius in rings:
        for angle in np.arange(count) * 2 * np.pi / count:
            x, y = radius * np.cos(angle), radius * np.sin(angle)
            above.plot([x, 0.85 * x], [y, 0.85 * y], color=GREY, lw=1)
            above.plot(x, y, "o", color=RED if count == 24 else INK, ms=5)
            beside.plot(x, height, "o", color=RED if count == 24 else INK, ms=5)
    beside.plot([-1.1, 1.1], [-0.2, -0.2], color=GREY)
    above.set_title("from above")
    beside.set_title("from the side: two heights")
    for ax in (above, beside):
        ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))


def masks(wide: Axes, tight: Axes) -> None:
    """What a mask may not do: cut the object off."""
    for ax, scale, title in (
        (wide, 1.08, "in doubt, a little too large"),
        (tight, 0.8, "never cut off"),
    ):
        ax.add_patch(Rectangle((-1, -1), 2, 2, color=INK))
        for x, y, r in ((0, -0.25, 0.5), (0.25, 0.35, 0.3)):
            ax.add_patch(Circle((x, y), r * scale, color="white"))
        for x, y, r in ((0, -0.25, 0.5), (0.25, 0.35, 0.3)):
            ax.add_patch(Circle((x, y), r, fill=False, ec=RED, lw=1.5, ls="--"))
        ax.set(xlim=(-1, 1), ylim=(-1, 1), title=title)


DRAWINGS = (lattice, coverage, gradients, gauss_newton, stereo, redistancing)
PAIRS = (rig, masks)  # of two pictures beside each other
PLAIN = (lattice, gradients, gauss_newton, stereo, *PAIRS)  # of equal axes, without numbers


def draw_all(folder: Path) -> None:
    """Write a .svg for each of the drawings."""
    for draw in (*DRAWINGS, *PAIRS):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(6.4, 3.4 if draw in PAIRS else 4.2), layout="constrained")
            axes = figure.subplots(1, 2 if draw in PAIRS else 1, squeeze=False)[0]
            draw(*axes)
            for ax in axes:
                ax.spines[["top", "right"]].set_visible(False)
                if draw in PLAIN:
                    ax.set_aspect("equal")
                    ax.set_axis_off()
            figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw_all(Path(__file__).parent)
