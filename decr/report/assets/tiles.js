// Says the CCP of the tile under the pointer or a finger, or of the one that arrow keys chose.
const map = document.querySelector(".tilemap");
const said = document.querySelector("#tile");
const packed = document.querySelector("#tiles");
if (map && packed) {
  const { height, width, tiles } = JSON.parse(packed.textContent);
  const rect = map.querySelector("rect");
  const first = said.textContent;
  let chosen = 0;
  const at = (row, col) => {
    // Where tiles overlap, the later one is drawn over the other.
    for (let i = tiles.length - 1; i >= 0; i--) {
      const [r, c, h, w] = tiles[i];
      if (row >= r && row < r + h && col >= c && col < c + w) return i;
    }
    return -1;
  };
  const tell = (i) => {
    if (i < 0) return;
    chosen = i;
    const [r, c, h, w, cloudy, valid] = tiles[i];
    const ccp = valid ? (cloudy / valid).toFixed(3) : "unknown, no valid pixel";
    said.textContent = `Row ${r}, column ${c}, ${h} × ${w} px: CCP ${ccp}`
      + (valid ? ` (${cloudy.toLocaleString("en")} of ${valid.toLocaleString("en")} px)` : "");
    for (const [name, value] of [["x", c], ["y", r], ["width", w], ["height", h]]) rect.setAttribute(name, value);
    rect.removeAttribute("visibility");
  };
  const follow = (event) => {
    const box = map.getBoundingClientRect();
    tell(at(((event.clientY - box.top) / box.height) * height, ((event.clientX - box.left) / box.width) * width));
  };
  map.addEventListener("pointerdown", follow);
  map.addEventListener("pointermove", follow);
  map.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch") return; // a finger leaves as soon as it is lifted
    said.textContent = first;
    rect.setAttribute("visibility", "hidden");
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [r, c, h, w] = tiles[chosen];
    const [row, col] = [r + h / 2 + step[0] * h, c + w / 2 + step[1] * w];
    tell(at(Math.min(height - 1, Math.max(0, row)), Math.min(width - 1, Math.max(0, col))));
  });
  map.addEventListener("focus", () => {
    if (map.matches(":focus-visible")) tell(chosen); // by keys: a press has told its own tile
  });
}
