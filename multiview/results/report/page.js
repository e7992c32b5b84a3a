// The slider through the stages of the fit.

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
