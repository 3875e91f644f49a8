// What was previewed is what is set: any change asks for a new preview.
document.getElementById("values-form")?.addEventListener("input", () => document.getElementById("preview")?.remove());
