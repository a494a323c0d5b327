// The table of conditions: columns sorted by buttons in their heads, rows searched by name.

const BY_NAME = new Intl.Collator("en", { numeric: true });
const ROWS_SHOWN = ["no_change", "training_mean", "replicate", "model"].filter((row) => DATA.rows.includes(row));

const NOVELTY = DATA.conditions.some((c) => c.novelty)
  ? [
      { head: "novelty", title: "What the simulated cells rest on", of: (c) => c.novelty },
      { head: "distance", title: "To the nearest that was measured; 1 is usual between measured ones", of: (c) => c.novelty_distance },
    ]
  : [];

/** Columns of the table for metric number m; `of` gives a number, a text, or null where there is no value. */
function columnsFor(m) {
  const number = (value) => (typeof value === "number" ? value : null);
  return [
    { head: "condition", title: "Perturbation, context and dose", of: (c) => c.name },
    { head: "seen", title: "Whether training had cells of it", of: (c) => ({ true: "yes", false: "no" })[c.seen] ?? "–" },
    { head: "score", title: "0: no better than no change; 1: as good as a replicate; of the model", of: (c) => number(c.scores[m]) },
    ...ROWS_SHOWN.map((row) => ({
      head: row === "replicate" ? "replicate (ceiling)" : spaced(row),
      title: `${DATA.metrics[m].key} of ${row === "model" ? "simulated cells" : spaced(row)} against real cells`,
      of: (c) => number(c.values[DATA.rows.indexOf(row)][m]),
    })),
    { head: "real n", title: "Real cells used", of: (c) => c.cells.truth_used },
    { head: "simulated n", title: "Simulated cells used", of: (c) => c.cells.predicted_used },
    ...NOVELTY,
  ];
}

class ConditionTable {
  constructor(table, choose) {
    this.head = table.tHead.rows[0];
    this.body = table.tBodies[0];
    this.sorted = { column: 2, ascending: true }; // the worst scores first
    this.rows = DATA.conditions.map((condition, i) => {
      const row = document.createElement("tr");
      row.addEventListener("click", () => choose(i));
      const name = element("th", "", { scope: "row" });
      name.append(element("button", condition.name, { type: "button", title: condition.name }));
      row.append(name);
      return { row, condition, i };
    });
  }

  show(m) {
    this.columns = columnsFor(m);
    this.head.replaceChildren(
      ...this.columns.map((column, k) => {
        const head = element("th", "", { scope: "col" });
        const button = element("button", column.head, { type: "button", title: column.title });
        button.addEventListener("click", () => this.sort(k));
        head.append(button);
        return head;
      }),
    );
    for (const { row, condition } of this.rows) {
      const cells = this.columns.slice(1).map((column) => {
        const value = column.of(condition);
        return element("td", typeof value === "string" ? value : shown(value));
      });
      row.replaceChildren(row.firstChild, ...cells);
    }
    this.order();
  }

  sort(column) {
    const ascending = this.sorted.column === column ? !this.sorted.ascending : true;
    this.sorted = { column, ascending };
    this.order();
  }

  /** Rows without a value stand last whichever way the others go. */
  order() {
    const { column, ascending } = this.sorted;
    const keyed = this.rows.map((row) => ({ ...row, key: this.columns[column].of(row.condition) }));
    const compare = (a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.i - b.i;
      const difference = typeof a.key === "string" ? BY_NAME.compare(a.key, b.key) : a.key - b.key;
      return (ascending ? difference : -difference) || a.i - b.i;
    };
    this.body.append(...keyed.sort(compare).map(({ row }) => row));
    [...this.head.cells].forEach((cell, k) => {
      cell.setAttribute("aria-sort", k !== column ? "none" : ascending ? "ascending" : "descending");
    });
  }

  /** Hide rows whose name lacks a word of the text; the number that is left. */
  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const { row, condition } of this.rows) {
      const name = condition.name.toLowerCase();
      row.hidden = !words.every((word) => name.includes(word));
      left += row.hidden ? 0 : 1;
    }
    return left;
  }

  mark(i) {
    for (const { row, i: own } of this.rows) {
      if (own === i) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }
}
