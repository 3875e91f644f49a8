// A part of a page that is fetched again and again is changed in place: only what differs is touched, so that focus, a
// selection and an open menu stay where they are.
// Buttons and options are what they do: one never turns into another.
function sameKind(a, b) {
  const meaning = (node) => (["BUTTON", "OPTION", "INPUT"].includes(node.nodeName) ? `${node.name || ""}=${node.type === "hidden" ? "" : node.getAttribute("value")}` : "");
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "") && meaning(a) === meaning(b);
}

function key(node) {
  return node.nodeName === "OPTION" ? `option ${node.value}` : node.id;
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

// What has an id, and an option by its value, is found again by it, so that no button turns into another under somebody's
// finger and no choice becomes another.
function changeChildren(old, fresh) {
  [...fresh.childNodes].forEach((node, n) => {
    const known = key(node) && [...old.childNodes].slice(n).find((child) => key(child) === key(node));
    while (known && old.childNodes[n] !== known) old.childNodes[n].remove();
    const at = old.childNodes[n];
    if (!at) old.append(node.cloneNode(true));
    else if (sameKind(at, node)) change(at, node);
    else if (key(at)) at.before(node.cloneNode(true));
    else at.replaceWith(node.cloneNode(true));
  });
  while (old.childNodes.length > fresh.childNodes.length) old.lastChild.remove();
}

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.target.hasAttribute("data-tw-live") || !event.detail.shouldSwap) return;
  event.detail.shouldSwap = false;
  const answered = new URL(event.detail.xhr.responseURL);
  if (answered.pathname + answered.search !== event.target.getAttribute("hx-get")) return window.location.reload(); // the session ended: to the log-in page
  const fresh = document.createElement("div");
  fresh.innerHTML = event.detail.serverResponse;
  changeChildren(event.target, fresh);
});

// A page that refreshes itself must say when it no longer does: old numbers in green are worse than none.
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => document.querySelector("[data-tw-refreshed]").classList.add("tw-stale"));
}
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (event.detail.xhr.status === 200) document.querySelector("[data-tw-refreshed]").classList.remove("tw-stale");
});

// Whoever was refused comes back to where they pressed: the menus open, what they typed as it was, the reason beside it.
const TYPED = "tw-typed";
const texts = (form) => [...form.querySelectorAll("input[id]:not([type=hidden], [type=checkbox], [type=password]), select[id]")];
document.addEventListener("submit", (event) => {
  if (event.target.id.startsWith("do-")) sessionStorage.setItem(TYPED, JSON.stringify(texts(event.target).map((one) => [one.id, one.value])));
});
document.addEventListener("DOMContentLoaded", () => {
  const typed = JSON.parse(sessionStorage.getItem(TYPED) || "[]");
  sessionStorage.removeItem(TYPED);
  const form = location.hash.startsWith("#do-") && document.getElementById(location.hash.slice(1));
  if (!form) return;
  for (const [id, value] of typed) if (form.querySelector(`#${id}`)) document.getElementById(id).value = value;
  const told = document.querySelector(".errornote");
  if (told) form.before(told);
  history.replaceState(null, "", location.pathname + location.search);
  for (let around = form; around; around = around.parentElement) if (around.nodeName === "DETAILS") around.open = true;
  form.querySelectorAll("details").forEach((inside) => (inside.open = true));
});

// Buttons that do harm ask first; without inline code, so that the content security policy need not allow any.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tw-confirm]");
  if (button && !window.confirm(button.dataset.twConfirm)) event.preventDefault();
});
