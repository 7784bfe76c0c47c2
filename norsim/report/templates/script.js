"use strict";
// Shows one layer at a time. Without this script, and on paper, all layers are shown.
const pickers = [];
for (const place of document.querySelectorAll("[data-picker]")) {
  const layers = [...place.querySelectorAll("article")];
  if (layers.length < 2) continue;
  const bar = document.createElement("p");
  const label = document.createElement("label");
  const list = document.createElement("select");
  const step = (text, by, said) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.ariaLabel = said;
    button.addEventListener("click", () => pick(layers[list.selectedIndex + by].id));
    return button;
  };
  const back = step("\u2190", -1, "previous layer");
  const on = step("\u2192", 1, "next layer");
  const pick = (id) => {
    for (const layer of layers) layer.hidden = layer.id !== id;
    list.value = id;
    back.disabled = list.selectedIndex === 0;
    on.disabled = list.selectedIndex === layers.length - 1;
  };
  for (const layer of layers) list.add(new Option(layer.dataset.layer, layer.id));
  list.addEventListener("change", () => pick(list.value));
  label.append("Layer ", list);
  bar.className = "bar";
  bar.append(label, back, on);
  place.prepend(bar);
  pick((layers.find((layer) => layer.dataset.worst) || layers[0]).id);
  pickers.push({ layers, pick });
}
const follow = () => {
  const id = location.hash.slice(1);
  for (const { layers, pick } of pickers) {
    const layer = layers.find((one) => one.id === id);
    if (!layer) continue;
    pick(id);
    layer.parentElement.scrollIntoView({ block: "nearest" });
  }
};
addEventListener("hashchange", follow);
addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a");
  if (link) setTimeout(follow);
});
follow();
