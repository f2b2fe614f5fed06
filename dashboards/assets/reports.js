// A figure that is clicked asks its page for its proof.
document.addEventListener("click", (event) => {
  const figure = event.target.closest && event.target.closest("[data-figure]");
  const report = figure && figure.closest("[data-report]");
  if (report) window.dash_clientside.set_props(`report-${report.dataset.report}-figure`, { data: figure.dataset.figure });
});
