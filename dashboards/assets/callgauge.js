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
        if (own === path || (own !== "/" && path.indexOf(own + "/") === 0)) {
          link.setAttribute("aria-current", "page");
          link.scrollIntoView({ block: "nearest", inline: "center" });
        } else link.removeAttribute("aria-current");
      });
      return title || "";
    }
  }
});
(function () {
  var OLD_MS = 30000, ANSWER_MS = 4000, last = performance.now(), shown = null, asking = false, told = {};
  function answers() {
    var stop = new AbortController(), late = setTimeout(function () { stop.abort(); }, ANSWER_MS);
    return fetch("/healthz", { signal: stop.signal, cache: "no-store" })
      .then(function (answer) { return answer.ok; }, function () { return false; })
      .finally(function () { clearTimeout(late); });
  }
  function note(of, said) {
    var box = document.getElementById("shell-notes");
    if (!box || told[of] === said) return;
    told[of] = said;
    box.textContent = "";
    Object.keys(told).forEach(function (each) {
      if (!told[each]) return;
      var line = document.createElement("p");
      line.textContent = told[each];
      box.appendChild(line);
    });
  }
  setInterval(function () {
    var at = document.querySelector("[data-as-of]");
    if (!at) { document.body.classList.remove("stale"); note("old", ""); return; }
    // A page in the background is renewed when the browser likes: it is not old for that.
    if (document.hidden) last = performance.now();
    if (at.dataset.asOf !== shown) { shown = at.dataset.asOf; last = performance.now(); note("filter", ""); }
    var old = performance.now() - last;
    document.body.classList.toggle("stale", old > OLD_MS);
    note("old", old > OLD_MS ? "Nothing new since " + shown + ": what is shown was so then." : "");
    if (old > 2 * OLD_MS && !asking && document.getElementById("wallboard-live")) {
      // The wallboard's connection was lost for good: begin anew when somebody answers. Others ask again by themselves.
      asking = true;
      answers().then(function (there) { if (there) location.reload(); })
        .finally(function () { setTimeout(function () { asking = false; }, 10000); });
    }
  }, 1000);
  // A filter is a plain form: with nobody to answer, the browser would put its own page in the place of this one.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (event.defaultPrevented || form.method !== "get") return;
    event.preventDefault();
    answers().then(function (there) {
      if (there) form.submit();
      else note("filter", "The server does not answer: the filter was not applied, and what is shown is as before.");
    });
  });
})();
