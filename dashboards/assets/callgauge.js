// What the browser does by itself: the scheme's button, the title, and saying that what is shown has grown old.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  callgauge: {
    scheme: function (clicks) {
      var key = "mantine-color-scheme-value", order = ["auto", "light", "dark"], chosen = "auto";
      try { chosen = localStorage.getItem(key) || "auto"; } catch (error) { /* no storage */ }
      if (clicks) {
        chosen = order[(order.indexOf(chosen) + 1) % 3];
        try { localStorage.setItem(key, chosen); } catch (error) { /* no storage */ }
      }
      var dark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
      document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
      return "Colours: " + chosen;
    },
    arrive: function (title, path) {
      document.title = title ? title + " · Callgauge" : "Callgauge";
      document.querySelectorAll("#shell-head .nav-link").forEach(function (link) {
        var own = link.getAttribute("href");
        if (own === path || (own !== "/" && path.indexOf(own + "/") === 0)) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      });
      return title || "";
    }
  }
});
(function () {
  var OLD_MS = 30000, last = performance.now(), shown = null, asking = false;
  setInterval(function () {
    var at = document.querySelector("[data-as-of]");
    if (!at) { document.body.classList.remove("stale"); return; }
    if (at.dataset.asOf !== shown) { shown = at.dataset.asOf; last = performance.now(); }
    var old = performance.now() - last;
    document.body.classList.toggle("stale", old > OLD_MS);
    if (old > 2 * OLD_MS && !asking) {
      // The connection was lost for good: begin anew when somebody answers.
      asking = true;
      fetch("/healthz").then(function (answer) { if (answer.ok) location.reload(); })
        .catch(function () {}).finally(function () { setTimeout(function () { asking = false; }, 10000); });
    }
  }, 1000);
})();
