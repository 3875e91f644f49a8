// A page that refreshes itself must say when it no longer does: old numbers in green are worse than none.
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => document.querySelector("[data-tw-refreshed]").classList.add("tw-stale"));
}
document.addEventListener("htmx:afterOnLoad", () => document.querySelector("[data-tw-refreshed]").classList.remove("tw-stale"));
