// Names for what the admin's own widgets leave without one: a screen reader says nothing of them otherwise.
"use strict";

function nameWidgets() {
  for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
    const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
    const widget = select.nextElementSibling;
    if (!label || !widget) continue;
    for (const part of widget.querySelectorAll(".select2-selection, .select2-selection__rendered, .select2-search__field")) {
      part.removeAttribute("aria-labelledby");
      part.setAttribute("aria-label", label.textContent.trim());
    }
  }
  for (const icon of document.querySelectorAll(".help-tooltip[aria-label]")) icon.setAttribute("role", "img");
}

addEventListener("load", () => setTimeout(nameWidgets)); // after the widgets themselves, which also wait for it
document.addEventListener("formset:added", () => setTimeout(nameWidgets));
