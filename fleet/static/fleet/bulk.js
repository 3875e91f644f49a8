// Of the form's fields only the one that the chosen verb asks for is shown; without this script all of them are.
const form = document.getElementById("bulk-form");
const asks = Object.fromEntries(form.dataset.twAsks.trim().split(/\s+/).map((pair) => pair.split(":")));
const asked = new Set(Object.values(asks));
function show() {
  const wanted = asks[form.elements.verb.value];
  for (const label of form.querySelectorAll("[data-tw-field]")) {
    const name = label.dataset.twField;
    label.hidden = asked.has(name) && name !== wanted;
  }
}
form.elements.verb.addEventListener("change", show);
// What was previewed is what is started: any change asks for a new preview.
form.addEventListener("input", () => document.getElementById("preview")?.remove());
show();
