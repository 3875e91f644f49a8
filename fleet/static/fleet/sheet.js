document.getElementById("do-print").addEventListener("click", () => window.print());
