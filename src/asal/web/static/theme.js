// Light or dark before the first paint; a plain script, because modules run too late for that.
(() => {
  "use strict";
  const root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem("asal.theme"); } catch { /* storage is forbidden: follow the system */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
})();
