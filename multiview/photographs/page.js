// Cameras and points on a canvas: turn, zoom, pick.

{
  const canvas = document.getElementById("cameras");
  const START = { yaw: 0.6, pitch: 0.5, zoom: 1 };
  const NEAR = 12; // pixels, within which a click picks

  const begin = () => {
    const { points, colors, ids, cameras } = JSON.parse(document.getElementById("drawn").textContent);
    const context = canvas.getContext("2d");
    const said = document.getElementById("picked");
    const pose = { ...START };
    let asked = 0;
    let chosen = null; // the place of what was clicked

    // To pixels, and how near it is.
    const project = (x, y, z) => {
      const [cy, sy, cp, sp] = [Math.cos(pose.yaw), Math.sin(pose.yaw), Math.cos(pose.pitch), Math.sin(pose.pitch)];
      const right = cy * x + sy * z;
      const back = cy * z - sy * x;
      const up = cp * y - sp * back;
      const near = cp * back + sp * y;
      const size = (0.42 * pose.zoom * Math.min(canvas.clientWidth, canvas.clientHeight)) / Math.max(0.1, 1 - near / 6);
      return [canvas.clientWidth / 2 + size * right, canvas.clientHeight / 2 - size * up, near];
    };
    const draw = () => {
      asked = 0;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      for (let n = 0; n < ids.length; n++) {
        const [x, y] = project(points[3 * n], points[3 * n + 1], points[3 * n + 2]);
        context.fillStyle = `rgb(${colors[3 * n]},${colors[3 * n + 1]},${colors[3 * n + 2]})`;
        context.fillRect(x - 1, y - 1, 2, 2);
      }
      context.lineWidth = 1.2;
      for (const camera of cameras) {
        context.strokeStyle = chosen === camera ? "#fff" : "#e69f00";
        const eye = project(...camera.at);
        const ends = camera.corners.map((corner) => project(...corner));
        context.beginPath();
        for (let k = 0; k < 4; k++) {
          context.moveTo(eye[0], eye[1]);
          context.lineTo(ends[k][0], ends[k][1]);
          context.lineTo(ends[(k + 1) % 4][0], ends[(k + 1) % 4][1]);
        }
        context.stroke();
      }
      if (typeof chosen === "number") {
        const [x, y] = project(points[3 * chosen], points[3 * chosen + 1], points[3 * chosen + 2]);
        context.strokeStyle = "#fff";
        context.beginPath();
        context.arc(x, y, 6, 0, 2 * Math.PI);
        context.stroke();
      }
    };
    const again = () => {
      if (!asked) asked = requestAnimationFrame(draw);
    };
    const pick = (x, y) => {
      let best = NEAR;
      chosen = null;
      for (const camera of cameras) {
        const [u, v] = project(...camera.at);
        if (Math.hypot(u - x, v - y) < best) [best, chosen] = [Math.hypot(u - x, v - y), camera];
      }
      for (let n = 0; n < ids.length; n++) {
        const [u, v] = project(points[3 * n], points[3 * n + 1], points[3 * n + 2]);
        if (Math.hypot(u - x, v - y) < best) [best, chosen] = [Math.hypot(u - x, v - y), n];
      }
      for (const item of document.querySelectorAll(".photographs li")) {
        item.classList.toggle("chosen", chosen !== null && item.dataset.name === chosen.name);
      }
      if (typeof chosen === "number") said.textContent = `Point ${ids[chosen]}`;
      else if (chosen) said.textContent = `Camera of ${chosen.name}`;
      again();
    };

    const fingers = new Map();
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const [dx, dy] = [event.clientX - last.clientX, event.clientY - last.clientY];
      moved += Math.abs(dx) + Math.abs(dy);
      if (fingers.size === 1) {
        pose.yaw += dx * 0.008;
        pose.pitch = Math.max(-1.57, Math.min(1.57, pose.pitch + dy * 0.008));
      } else {
        const other = [...fingers.values()].find((f) => f.pointerId !== event.pointerId);
        const apart = (e) => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY);
        pose.zoom *= apart(event) / Math.max(1, apart(last));
      }
      fingers.set(event.pointerId, event);
      again();
    });
    canvas.addEventListener("pointerup", (event) => {
      fingers.delete(event.pointerId);
      const box = canvas.getBoundingClientRect();
      if (moved < 4) pick(event.clientX - box.left, event.clientY - box.top);
    });
    canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      pose.zoom *= Math.exp(-event.deltaY * 0.001);
      again();
    }, { passive: false });
    const keys = {
      ArrowLeft: () => (pose.yaw -= 0.1),
      ArrowRight: () => (pose.yaw += 0.1),
      ArrowUp: () => (pose.pitch = Math.max(-1.57, pose.pitch - 0.1)),
      ArrowDown: () => (pose.pitch = Math.min(1.57, pose.pitch + 0.1)),
      "+": () => (pose.zoom *= 1.15),
      "=": () => (pose.zoom *= 1.15),
      "-": () => (pose.zoom /= 1.15),
      Home: () => Object.assign(pose, START),
    };
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
      again();
    });
    new ResizeObserver(again).observe(canvas);
  };
  if (canvas) begin();
}
