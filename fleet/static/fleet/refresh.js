// A part of a page that is fetched again and again is changed in place: only what differs is touched, so that focus, a
// selection and an open menu stay where they are.
function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

function change(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE || old.nodeType === Node.COMMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  changeChildren(old, fresh);
}

function changeChildren(old, fresh) {
  const present = [...old.childNodes], wanted = [...fresh.childNodes];
  wanted.forEach((node, n) => {
    const at = present[n];
    if (!at) old.append(node.cloneNode(true));
    else if (sameKind(at, node)) change(at, node);
    else at.replaceWith(node.cloneNode(true));
  });
  present.slice(wanted.length).forEach((node) => node.remove());
}

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.target.hasAttribute("data-tw-live") || !event.detail.shouldSwap) return;
  event.detail.shouldSwap = false;
  const fresh = document.createElement("div");
  fresh.innerHTML = event.detail.serverResponse;
  changeChildren(event.target, fresh);
});

// A page that refreshes itself must say when it no longer does: old numbers in green are worse than none.
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => document.querySelector("[data-tw-refreshed]").classList.add("tw-stale"));
}
document.addEventListener("htmx:afterOnLoad", () => document.querySelector("[data-tw-refreshed]").classList.remove("tw-stale"));

// Buttons that do harm ask first; without inline code, so that the content security policy need not allow any.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tw-confirm]");
  if (button && !window.confirm(button.dataset.twConfirm)) event.preventDefault();
});
