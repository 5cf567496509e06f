"use strict";
// The button that chooses light or dark; a page without it stays as the system has it.
(() => {
  const button = document.getElementById("theme"), names = ["auto", "light", "dark"];
  const store = (name) => { try { localStorage.setItem("trlt-theme", name); } catch { /* no storage from disk */ } };
  const apply = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    button.dataset.name = name;
  };
  let kept = null;
  try { kept = localStorage.getItem("trlt-theme"); } catch { /* no storage from disk */ }
  apply(names.includes(kept) ? kept : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = names[(names.indexOf(button.dataset.name) + 1) % names.length];
    apply(next);
    store(next);
  });
})();
