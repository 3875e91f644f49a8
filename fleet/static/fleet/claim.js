// A slip's QR code leads here with serial and code behind the #, which stays on the phone: it is never sent in an address.
const [serial, code] = decodeURIComponent(location.hash.slice(1)).split("/");
const form = document.getElementById("claim-form");
if (form && code) {
  form.elements.code.value = code;
  history.replaceState(null, "", location.pathname);
  form.elements.serial.focus();
}

// Where the browser can read barcodes, the camera fills in a field; elsewhere it is typed.
for (const place of document.querySelectorAll("[data-tw-scan]")) {
  if (!("BarcodeDetector" in window) || !navigator.mediaDevices) continue;
  place.hidden = false;
  place.querySelector("button").addEventListener("click", () => scan(place));
}

async function scan(place) {
  const video = place.querySelector("video");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  const detector = new BarcodeDetector();
  while (video.srcObject) {
    const [found] = await detector.detect(video);
    if (found) {
      const text = found.rawValue;
      document.getElementById(place.dataset.twScan).value = text.includes("#") ? text.split("/").pop() : text;
      stream.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
      video.hidden = true;
    }
    await new Promise((done) => setTimeout(done, 150));
  }
}
