// Moves the line between before and after: by mouse, pen or touch on the picture, by keys on the slider.
const view = document.querySelector(".compare");
const slider = document.querySelector("#position");
const move = (percent) => {
  const at = Math.min(100, Math.max(0, percent));
  slider.value = at;
  slider.setAttribute("aria-valuetext", `${Math.round(at)} % before, ${Math.round(100 - at)} % after`);
  view.style.setProperty("--at", `${at}%`);
};
const follow = (event) => {
  const box = view.getBoundingClientRect();
  move((100 * (event.clientX - box.left)) / box.width);
};
view.addEventListener("pointerdown", (event) => {
  view.setPointerCapture(event.pointerId);
  follow(event);
});
view.addEventListener("pointermove", (event) => {
  if (view.hasPointerCapture(event.pointerId)) follow(event);
});
slider.addEventListener("input", () => move(Number(slider.value)));
move(Number(slider.value));
