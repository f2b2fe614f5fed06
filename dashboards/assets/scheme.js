// Before anything is drawn: dark or light as chosen here before, else as the system wishes.
(function () {
  var chosen = "auto";
  try { chosen = localStorage.getItem("mantine-color-scheme-value") || "auto"; } catch (error) { /* no storage */ }
  var dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
