// "/" leads to the search box, wherever nobody is typing.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.getElementById("searchbar")) return; // a list has a search box of its own, which the theme leads to
  const box = document.getElementById("find-text");
  event.preventDefault();
  box ? box.focus() : window.location.assign("/admin/find/");
});

// A browser may leave `autofocus` out when the page before had the keyboard.
document.addEventListener("DOMContentLoaded", () => document.getElementById("find-text")?.focus());
