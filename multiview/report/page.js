// The slider, the sorted table, and pictures that grow.
"use strict";

{
  const data = JSON.parse(document.getElementById("forming-data").textContent);
  const section = document.getElementById("forming");
  const slider = document.getElementById("stage");
  const buttons = [...section.querySelectorAll("button[data-view]")];
  const [photograph, rendering, difference] = section.querySelectorAll(".pictures img");
  let view = data.views[0];

  const show = () => {
    const stage = Number(slider.value);
    rendering.src = view.renderings[stage];
    difference.src = view.differences[stage];
    section.querySelector("output").textContent =
      `${stage + 1} of ${data.stages.length}: ${data.stages[stage]}`;
    slider.setAttribute("aria-valuetext", data.stages[stage]);
  };
  slider.addEventListener("input", show);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      view = data.views[Number(button.dataset.view)];
      photograph.src = view.photograph;
      for (const image of [photograph, rendering, difference]) {
        image.width = view.width;
        image.height = view.height;
      }
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  slider.value = String(data.stages.length - 1); // a reload may bring back another
  show();
}

{
  const table = document.querySelector("table.views");
  const body = table.tBodies[0];
  const value = (row, key) => {
    const text = row.dataset[key.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
    const number = text === "" ? Infinity : Number(text); // no figure: last
    return Number.isNaN(number) ? text : number;
  };
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("thead th[aria-sort]")) {
        other.setAttribute("aria-sort", "none");
      }
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => {
        const [x, y] = [value(a, button.dataset.key), value(b, button.dataset.key)];
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      };
      body.append(...[...body.rows].sort(compare));
    });
  }
}

{
  const dialog = document.getElementById("grown");
  for (const button of document.querySelectorAll("button.grow")) {
    button.addEventListener("click", () => {
      const [from, to] = [button.querySelector("img"), dialog.querySelector("img")];
      to.src = from.src;
      to.alt = dialog.querySelector("p").textContent = from.alt;
      dialog.showModal();
    });
  }
}
