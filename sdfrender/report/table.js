// Tables that a heading sorts, and pictures that grow.
"use strict";

for (const table of document.querySelectorAll("table.views")) {
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
