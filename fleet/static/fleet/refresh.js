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
