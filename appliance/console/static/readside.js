// Keys for the list, and a banner when the box stops answering: stale data must not look like news.
"use strict";
(() => {
  const banner = () => document.getElementById("offline");
  let fresh = new Date();
  const lost = () => {
    if (!banner() || !banner().hidden) return;
    document.getElementById("offline-at").textContent = fresh.toLocaleTimeString();
    banner().hidden = false;
  };
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:timeout", lost);
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status !== 401) lost();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful) return;
    fresh = new Date();
    if (banner()) banner().hidden = true;
  });

  // Opened details and a form in use must survive a refresh.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.querySelector("details[open], input:focus, button:focus")) event.detail.shouldSwap = false;
  });

  const rows = () => [...document.querySelectorAll("[data-rows] tbody tr a")];
  const move = (step) => {
    const links = rows();
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const to = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
    links[to].focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, textarea, select")) return;
    if (event.key === "j" || (event.key === "ArrowDown" && rows().includes(document.activeElement))) move(1);
    else if (event.key === "k" || (event.key === "ArrowUp" && rows().includes(document.activeElement))) move(-1);
    else return;
    event.preventDefault();
  });
})();
