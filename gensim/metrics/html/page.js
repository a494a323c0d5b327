// What the reader chooses, and what changes with it.

const TOP_GENES = 15;
const byId = (id) => document.getElementById(id);
const arrows = { lower: "lower is better", higher: "higher is better" };
let chosen = 0;

function rowOf(cells) {
  const row = document.createElement("tr");
  row.append(...cells);
  return row;
}

function showMetric() {
  const metric = DATA.metrics[byId("metric").value];
  const better = arrows[metric.better] ?? `nearest to ${metric.identical} is best`;
  byId("metric-meaning").textContent = `${metric.name}. Unit: ${metric.unit}; ${better}.`;
  table.show(Number(byId("metric").value));
}

function search() {
  byId("count").textContent = `${table.search(byId("search").value)} of ${DATA.conditions.length} conditions`;
}

/** Values of all rows and metrics, with numbered reasons below. */
function showValues(condition) {
  const reasons = [];
  const cell = (value, spread) => {
    if (typeof value !== "string") return element("td", shown(value) + (spread === null || spread === undefined ? "" : ` ± ${shown(spread)}`));
    const reason = DATA.reasons[Number(value)];
    if (!reasons.includes(reason)) reasons.push(reason);
    return element("td", `– (${reasons.indexOf(reason) + 1})`, { title: reason });
  };
  byId("values").tHead.rows[0].replaceChildren(
    ...["metric", "score", ...DATA.rows.map(rowName)].map((head) => element("th", head, { scope: "col" })),
  );
  byId("values").tBodies[0].replaceChildren(
    ...DATA.metrics.map((metric, m) => {
      const head = element("th", "", { scope: "row" });
      head.append(element("a", metric.key, { href: `#metric-${metric.key}`, title: metric.name }));
      return rowOf([head, cell(condition.scores[m]), ...DATA.rows.map((_, r) => cell(condition.values[r][m], condition.spreads[r][m]))]);
    }),
  );
  byId("reasons").replaceChildren(...reasons.map((reason, i) => element("li", `(${i + 1}) ${reason}`)));
}

function showGenes({ genes, ofGenes }) {
  const columns = [
    ["effect, real", "effect_real"], ["simulated", "effect_simulated"], ["log2 FC, real", "log2_fold_change_real"],
    ["simulated", "log2_fold_change_simulated"], ["FDR, real", "significance_real"], ["simulated", "significance_simulated"],
  ];
  byId("genes").tHead.rows[0].replaceChildren(...["gene", ...columns.map(([head]) => head)].map((head) => element("th", head, { scope: "col" })));
  byId("genes").tBodies[0].replaceChildren(
    ...genes.slice(0, TOP_GENES).map((gene, i) =>
      rowOf([
        element("th", gene, { scope: "row" }),
        ...columns.map(([, name]) => element("td", shown(name.startsWith("significance") ? 10 ** -ofGenes[name][i] : ofGenes[name][i]))),
      ]),
    ),
  );
}

function showPictures() {
  const condition = DATA.conditions[chosen];
  const pictures = condition.pictures && picturesOf(condition);
  byId("plots").hidden = !pictures;
  byId("no-pictures").hidden = Boolean(pictures);
  if (!pictures) return;
  showGenes(pictures);
  drawCondition(pictures);
}

function choose(i) {
  chosen = i;
  const condition = DATA.conditions[i];
  byId("choice").value = String(i);
  table.mark(i);
  const { truth, truth_used, predicted, predicted_used, controls, controls_drawn } = condition.cells;
  byId("cells").textContent =
    `n = ${truth_used} real cells (of ${truth}), ${predicted_used} simulated cells (of ${predicted}), ` +
    `${controls_drawn} control cells (of ${controls}).`;
  showValues(condition);
  showPictures();
}

const table = new ConditionTable(byId("table"), (i) => {
  choose(i);
  byId("condition").scrollIntoView();
  byId("choice").focus({ preventScroll: true });
});
byId("metric").append(...DATA.metrics.map((metric, m) => element("option", metric.key, { value: m })));
byId("metric").addEventListener("change", showMetric);
byId("search").addEventListener("input", search);
byId("choice").append(...DATA.conditions.map((condition, i) => element("option", condition.name, { value: i })));
byId("choice").addEventListener("change", () => choose(Number(byId("choice").value)));
const step = (by) => choose((chosen + by + DATA.conditions.length) % DATA.conditions.length);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawScores();
  drawAllSpread();
  showPictures();
});
showMetric();
search();
drawScores();
drawAllSpread();
choose(0);
