// The index needs no script; with it, the commands say where this server is.
for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
