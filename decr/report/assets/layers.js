// Shows the layers, and their legends, whose buttons are pressed.
const buttons = [...document.querySelectorAll('input[name="layer"]')];
const show = () => {
  const wanted = new Set(buttons.filter((b) => b.checked).map((b) => b.value));
  for (const part of document.querySelectorAll("[data-layer]")) part.hidden = !wanted.has(part.dataset.layer);
};
for (const button of buttons) button.addEventListener("change", show);
show();
