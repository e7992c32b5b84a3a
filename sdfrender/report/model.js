// The mesh, turning: unpacked from the page itself and drawn with WebGL 2.
// Without it, or without DecompressionStream, the still pictures stay.

{
  const canvas = document.getElementById("model");
  const VERTEX = `#version 300 es
    in vec3 position, normal, color;
    uniform mat3 turn;
    uniform vec2 scale; // of x and y, at a distance of 1
    uniform float distance;
    out vec3 n, toEye, tint;
    void main() {
      vec3 p = turn * position;
      float depth = distance - p.z;
      n = turn * normal;
      toEye = vec3(0.0, 0.0, distance) - p;
      tint = color;
      // depth from distance - 1 (near) to distance + 1 (far)
      gl_Position = vec4(scale * p.xy, (depth - distance) * depth, depth);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 n, toEye, tint;
    uniform bool clay;
    out vec4 shown;
    void main() {
      float light = 0.12 + 0.85 * abs(dot(normalize(n), normalize(toEye)));
      vec3 lit = vec3(0.96, 0.93, 0.88) * pow(light, 1.0 / 2.2);
      shown = vec4(clay ? lit : tint, 1.0);
    }`;
  const DISTANCE = 4.0; // of the eye, in radii of the mesh
  const START = { yaw: 0.5, pitch: 0.35, zoom: 1.0 };

  const unpack = async () => {
    const packed = atob(document.getElementById("model-data").textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const data = await new Response(stream).arrayBuffer();
    const [verts, faces] = [Number(canvas.dataset.verts), Number(canvas.dataset.faces)];
    const indices = new Uint32Array(data, 0, 3 * faces);
    const steps = new Uint16Array(data, 12 * faces, 3 * verts);
    const colored = canvas.dataset.colored === "1";
    const colors = colored
      ? new Uint8Array(data, 12 * faces + 6 * verts, 3 * verts)
      : new Uint8Array(3 * verts);
    const positions = Float32Array.from(steps, (step) => (2 * step) / 65535 - 1);
    return { indices, positions, colors, colored, normals: normalsOf(positions, indices) };
  };

  // Sums of the triangles' normals, which are as long as twice their area.
  const normalsOf = (positions, indices) => {
    const normals = new Float32Array(positions.length);
    for (let i = 0; i < indices.length; i += 3) {
      const [a, b, c] = [3 * indices[i], 3 * indices[i + 1], 3 * indices[i + 2]];
      const u = [0, 1, 2].map((k) => positions[b + k] - positions[a + k]);
      const v = [0, 1, 2].map((k) => positions[c + k] - positions[a + k]);
      const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
    }
    return normals;
  };

  const program = (gl) => {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    gl.useProgram(made);
    return made;
  };

  const upload = (gl, made, mesh) => {
    const attribute = (name, array, type, normalized) => {
      const place = gl.getAttribLocation(made, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, type, normalized, 0, 0);
    };
    attribute("position", mesh.positions, gl.FLOAT, false);
    attribute("normal", mesh.normals, gl.FLOAT, false);
    attribute("color", mesh.colors, gl.UNSIGNED_BYTE, true);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.STATIC_DRAW);
    gl.enable(gl.DEPTH_TEST);
  };

  const begin = async () => {
    const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl || !window.DecompressionStream) return;
    const mesh = await unpack();
    const made = program(gl);
    upload(gl, made, mesh);
    const section = document.getElementById("shape");
    section.querySelector(".live").hidden = false;
    section.querySelector(".strip").style.display = "none";

    const turnButton = document.getElementById("turn");
    const clayButton = document.getElementById("clay");
    const pose = { ...START };
    let turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    let visible = true;
    let asked = 0;
    let last = 0;

    const draw = (now) => {
      asked = 0;
      if (turning && last) pose.yaw += Math.min(now - last, 100) * 0.0005;
      last = turning ? now : 0;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      const [cy, sy, cp, sp] = [Math.cos(pose.yaw), Math.sin(pose.yaw), Math.cos(pose.pitch), Math.sin(pose.pitch)];
      // columns of the turn about y, then about x
      const turn = [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
      // a sphere of radius 1 just fits the shorter side
      const most = 0.95 * pose.zoom * Math.sqrt(DISTANCE * DISTANCE - 1);
      const shorter = Math.min(width, height);
      const fit = [(most * shorter) / width, (most * shorter) / height];
      gl.uniformMatrix3fv(gl.getUniformLocation(made, "turn"), false, turn);
      gl.uniform2fv(gl.getUniformLocation(made, "scale"), fit);
      gl.uniform1f(gl.getUniformLocation(made, "distance"), DISTANCE);
      gl.uniform1i(gl.getUniformLocation(made, "clay"), !mesh.colored || clayButton.ariaPressed === "true" ? 1 : 0);
      gl.drawElements(gl.TRIANGLES, mesh.indices.length, gl.UNSIGNED_INT, 0);
      if (turning && visible) again();
    };
    const again = () => {
      if (!asked) asked = requestAnimationFrame(draw);
    };
    const setTurning = (on) => {
      turning = on;
      turnButton.setAttribute("aria-pressed", String(on));
      again();
    };
    const turnBy = (yaw, pitch) => {
      pose.yaw += yaw;
      pose.pitch = Math.max(-1.57, Math.min(1.57, pose.pitch + pitch));
      if (turning) setTurning(false);
      again();
    };
    const zoomBy = (factor) => {
      pose.zoom = Math.max(0.5, Math.min(8, pose.zoom * factor));
      again();
    };

    turnButton.addEventListener("click", () => setTurning(!turning));
    clayButton?.addEventListener("click", () => {
      clayButton.setAttribute("aria-pressed", String(clayButton.ariaPressed !== "true"));
      again();
    });

    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const apart = fingers.size === 2 ? spread() : 0;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (apart) zoomBy(spread() / apart);
      else turnBy((event.clientX - before.x) * 0.01, (event.clientY - before.y) * 0.01);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY * 0.001));
    }, { passive: false });
    const keys = {
      ArrowLeft: () => turnBy(-0.1, 0),
      ArrowRight: () => turnBy(0.1, 0),
      ArrowUp: () => turnBy(0, -0.1),
      ArrowDown: () => turnBy(0, 0.1),
      "+": () => zoomBy(1.15),
      "=": () => zoomBy(1.15),
      "-": () => zoomBy(1 / 1.15),
      Home: () => { Object.assign(pose, START); again(); },
    };
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    new ResizeObserver(again).observe(canvas);
    new IntersectionObserver(([entry]) => {
      visible = entry.isIntersecting;
      last = 0;
      if (visible) again();
    }).observe(canvas);
    setTurning(turning);
  };
  if (canvas) begin().catch((error) => {
    console.warn(`the mesh cannot be drawn: ${error.message}`);
    const section = document.getElementById("shape");
    section.querySelector(".live").hidden = true;
    section.querySelector(".strip").style.display = "";
  });
}
