// Plots of the summary, of all conditions together and of one. Populations differ by colour, shape and dash.

const NAME_SIDES = ["top center", "bottom center", "middle left", "middle right", "top left", "bottom right"];
const LOOK = {
  control: { symbol: "circle-open", dash: "dot", name: "control" },
  real: { symbol: "circle", dash: "solid", name: "real" },
  simulated: { symbol: "diamond", dash: "dash", name: "simulated" },
  replicate: { symbol: "square", dash: "dashdot", name: "replicate" },
};
const ROW_LOOK = {
  model: ["simulated", "diamond"], training_mean: ["real", "circle"], mean_response: ["real", "circle-open"],
  gaussian_map: ["control", "square"],
  nearest: ["replicate", "triangle-up"], ridge: ["other-1", "cross"], kernel_ridge: ["other-2", "x"],
  random_embedding: ["soft", "triangle-down"], idealised: ["fore", "star"],
};
const CONFIG = { responsive: true, displayModeBar: false, showTips: false };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axis(title, more = {}) {
  return {
    title: { text: title, standoff: 8 }, automargin: true, color: colour("fore"), gridcolor: colour("line"),
    zerolinecolor: colour("line"), linecolor: colour("line"), ...more,
  };
}

function layout(more) {
  const family = getComputedStyle(document.body).fontFamily;
  return {
    margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family, size: 13, color: colour("fore") }, hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("fore") } },
    // A finger on a plot scrolls the page.
    dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
    ...more,
  };
}

function draw(id, traces, more, label) {
  const place = document.getElementById(id);
  if (label) place.setAttribute("aria-label", label);
  return Plotly.react(place, traces, layout(more), CONFIG);
}

/** Open symbols take their colour from the line. */
function points(population, x, y, more = {}) {
  const { symbol, name } = LOOK[population];
  const marker = { color: colour(population), symbol, size: 6, opacity: 0.65 };
  return { type: "scatter", mode: "markers", name, x, y, marker, ...more };
}

function straight(from, to) {
  return { type: "line", x0: from[0], y0: from[1], x1: to[0], y1: to[1], line: { color: colour("soft"), width: 1, dash: "dot" } };
}

/** Names beside the first genes, which have the largest real effects. */
function names(genes, x, y) {
  const n = Math.min(NAME_SIDES.length, genes.length);
  return {
    type: "scatter", mode: "text", showlegend: false, hoverinfo: "skip", x: x.slice(0, n), y: y.slice(0, n),
    text: genes.slice(0, n).map(plain), textposition: NAME_SIDES.slice(0, n), textfont: { size: 12, color: colour("fore") },
    cliponaxis: false,
  };
}

function drawScores() {
  const metrics = DATA.metrics.filter((metric) => Object.values(DATA.scores).some((row) => row[metric.key]));
  const rows = DATA.rows.filter((row) => DATA.scores[row]);
  const traces = rows.map((row, k) => {
    const found = metrics.filter((metric) => DATA.scores[row][metric.key]);
    const estimates = found.map((metric) => DATA.scores[row][metric.key]);
    const [name, symbol] = ROW_LOOK[row];
    const bar = (end) => estimates.map((e) => (e[end] === null ? 0 : Math.abs(e[end] - e.value)));
    const offset = (k - (rows.length - 1) / 2) / (rows.length + 1);
    return {
      type: "scatter", mode: "markers", name: rowName(row),
      x: estimates.map((e) => e.value), y: found.map((metric) => metrics.indexOf(metric) + offset),
      error_x: { type: "data", symmetric: false, array: bar("high"), arrayminus: bar("low"), color: colour(name), thickness: 1.5 },
      marker: { color: colour(name), symbol, size: row === "model" ? 10 : 7 },
      text: estimates.map((e, i) => `${found[i].key}: ${shown(e.value)} [${shown(e.low)}, ${shown(e.high)}]`),
      hovertemplate: "%{text}",
    };
  });
  const edge = [-0.5, metrics.length - 0.5];
  const ends = rows.flatMap((row) => Object.values(DATA.scores[row]).flatMap((e) => [e.value, e.low ?? e.value, e.high ?? e.value]));
  const place = document.getElementById("plot-scores");
  place.style.height = `${6 + 3 * Math.max(metrics.length, 2)}rem`;
  return draw("plot-scores", traces, {
    xaxis: axis("score", { range: [Math.max(-1.5, Math.min(0, ...ends) - 0.1), Math.min(2.5, Math.max(1, ...ends) + 0.1)] }),
    yaxis: axis("", { range: [edge[1], edge[0]], tickvals: metrics.map((_, i) => i), ticktext: metrics.map((metric) => metric.key), zeroline: false }),
    shapes: [straight([0, edge[0]], [0, edge[1]]), straight([1, edge[0]], [1, edge[1]])],
  });
}

/** Many points: small ones, real ones larger, so that they are seen below. Few ticks, so that their labels have room. */
function drawAllSpread() {
  if (!DATA.spread.n) return;
  const { mean, variance, ratio } = spreadOf(DATA.spread);
  const small = (population, x, y, hovertemplate) => {
    const trace = points(population, x, y, { hovertemplate });
    Object.assign(trace.marker, { size: population === "real" ? 7 : 3.5, opacity: 0.5 });
    return trace;
  };
  const log = { type: "log", exponentformat: "power", nticks: 4 };
  const legend = { ...layout().legend, itemsizing: "constant" };
  const clouds = ["real", "simulated"].map((population) =>
    small(population, mean[population], variance[population], "mean %{x:.3g}<br>variance %{y:.3g}"),
  );
  draw("plot-all-spread", clouds, { xaxis: axis("mean", log), yaxis: axis("variance", log), legend });
  draw("plot-ratios", [small("simulated", mean.real, ratio, "mean in real cells %{x:.3g}<br>ratio %{y:.3g}<extra></extra>")], {
    xaxis: axis("mean in real cells", log), yaxis: axis("variance, simulated / real", log), showlegend: false,
    shapes: [{ ...straight([0, 1], [1, 1]), xref: "paper", line: { color: colour("fore"), width: 1.5 } }],
  });
}

function drawPlaces({ places }) {
  const traces = DATA.populations.map((population) => {
    const of = places[population];
    const more = { name: `${population}, ${of.length} cells`, hoverinfo: "name" };
    return points(population, of.map((place) => place[0]), of.map((place) => place[1]), more);
  });
  const counts = traces.map((trace) => trace.name).join("; ");
  return draw("plot-places", traces, { xaxis: axis("PC 1"), yaxis: axis("PC 2") }, `Scatter on two principal components: ${counts}.`);
}

function drawEffects({ genes, ofGenes }) {
  const [x, y] = [ofGenes.effect_real, ofGenes.effect_simulated];
  const ends = [Math.min(...x, ...y), Math.max(...x, ...y)];
  const of = points("simulated", x, y, { name: "gene", text: genes.map(plain), hovertemplate: "%{text}<br>real %{x:.3g}<br>simulated %{y:.3g}<extra></extra>" });
  return draw("plot-effects", [of, names(genes, x, y)], {
    xaxis: axis("effect in real cells"), yaxis: axis("effect in simulated cells"), showlegend: false,
    shapes: [straight([ends[0], ends[0]], [ends[1], ends[1]])],
  }, `Simulated against real effects of ${genes.length} genes; the largest are in the table of genes.`);
}

function drawVolcano({ genes, ofGenes }) {
  const traces = ["real", "simulated"].map((population) =>
    points(population, ofGenes[`log2_fold_change_${population}`], ofGenes[`significance_${population}`], {
      text: genes.map(plain), hovertemplate: "%{text}<br>log2 FC %{x:.3g}<br>−log10 FDR %{y:.3g}",
    }),
  );
  const infinite = ["real", "simulated"].map((p) => ofGenes[`log2_fold_change_${p}`].filter((v) => !Number.isFinite(v)).length);
  document.getElementById("infinite").textContent = Math.max(...infinite)
    ? `Not drawn for an infinite fold change: ${infinite[0]} genes of the real and ${infinite[1]} of the simulated cells.` : "";
  return draw("plot-volcano", [...traces, names(genes, traces[0].x, traces[0].y)], {
    xaxis: axis("log2 fold change"), yaxis: axis("−log10 FDR", { rangemode: "tozero" }),
    shapes: [{ ...straight([0, -Math.log10(0.05)], [1, -Math.log10(0.05)]), xref: "paper" }],
  }, "Volcano plot of real and simulated cells against control cells; the largest genes are in the table of genes.");
}

function drawSpread({ genes, ofGenes }) {
  const traces = ["real", "simulated"].map((population) =>
    points(population, ofGenes[`mean_${population}`], ofGenes[`variance_${population}`], {
      text: genes.map(plain), hovertemplate: "%{text}<br>mean %{x:.3g}<br>variance %{y:.3g}",
    }),
  );
  const log = { type: "log", dtick: "D2" };
  return draw("plot-spread", traces, { xaxis: axis("mean", log), yaxis: axis("variance", log) }, "Variance against mean of genes in real and simulated cells.");
}

function drawDistributions({ genes, distributions }) {
  const wide = document.getElementById("plot-distributions");
  const columns = wide.clientWidth < 480 ? 2 : 3;
  const rows = Math.max(1, Math.ceil(distributions.length / columns));
  wide.style.height = `${4 + 12 * rows}rem`;
  const traces = [];
  const more = { grid: { rows, columns, pattern: "independent", ygap: 0.3, xgap: columns === 2 ? 0.3 : 0.12 }, annotations: [] };
  distributions.forEach((of, i) => {
    const suffix = i ? String(i + 1) : "";
    for (const population of DATA.populations) {
      const { dash, name } = LOOK[population];
      traces.push({
        type: "scatter", mode: "lines", name, legendgroup: name, showlegend: i === 0, x: of[population], y: DATA.probabilities,
        xaxis: `x${suffix}`, yaxis: `y${suffix}`, line: { color: colour(population), dash, width: 2 },
        hovertemplate: "%{y:.0%} of cells ≤ %{x:.3g}",
      });
    }
    more[`xaxis${suffix}`] = axis("", { rangemode: "tozero", automargin: false });
    more[`yaxis${suffix}`] = axis("", { range: [0, 1.02], tickformat: ".0%", automargin: false });
    more.annotations.push({
      text: plain(genes[i]), xref: `x${suffix} domain`, yref: `y${suffix} domain`, x: 0.98, y: 0.04, xanchor: "right",
      yanchor: "bottom", showarrow: false, font: { size: 14 }, bgcolor: colour("back"),
    });
  });
  more.margin = { l: 42, r: 8, t: 8, b: 28 };
  return draw("plot-distributions", traces, more, `Cumulative distributions of ${distributions.length} genes in control, real and simulated cells.`);
}

function drawCalibration({ coverage }) {
  const traces = Object.entries(coverage).map(([population, share]) => ({
    type: "scatter", mode: "lines+markers", name: LOOK[population].name, x: DATA.levels, y: share,
    line: { color: colour(population), dash: LOOK[population].dash }, marker: { symbol: LOOK[population].symbol, size: 6 },
    hovertemplate: "%{y:.0%} of genes within %{x:.0%}",
  }));
  const at = DATA.levels.length - 1;
  const within = Object.entries(coverage).map(([population, share]) => `${population} ${shown(100 * share[at])} %`).join(", ");
  document.getElementById("within").textContent = `Within ${shown(100 * DATA.levels[at])} %: ${within}.`;
  const percent = { range: [0, 1.02], tickformat: ".0%" };
  return draw("plot-calibration", traces, {
    xaxis: axis("expected of sampling noise", percent), yaxis: axis("share of genes", percent), shapes: [straight([0, 0], [1, 1])],
  }, `Calibration. Share of genes within ${shown(100 * DATA.levels[at])} % of sampling noise: ${within}.`);
}

function drawCondition(pictures) {
  return Promise.all([drawPlaces, drawEffects, drawVolcano, drawSpread, drawDistributions, drawCalibration].map((of) => of(pictures)));
}
