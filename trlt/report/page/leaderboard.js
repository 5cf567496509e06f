"use strict";
// Sorts a table by any of its columns. The headings become buttons here, so that none is dead where no script runs.
(() => {
  const table = document.querySelector("table.sortable"), told = document.getElementById("sorted");
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, place) => row.cells[place].dataset.value;
  const sort = (place) => {
    const up = heads[place].getAttribute("aria-sort") === (place ? "descending" : null); // numbers begin with the highest
    const sign = up || (!place && heads[place].getAttribute("aria-sort") !== "ascending") ? 1 : -1;
    const order = (a, b) => {
      const [x, y] = [value(a, place), value(b, place)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // what is missing stays last
      return sign * (place ? Number(x) - Number(y) : x.localeCompare(y));
    };
    body.append(...[...body.rows].sort(order));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[place].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    told.textContent = `Sorted by ${heads[place].firstChild.firstChild.textContent}, ${sign > 0 ? "ascending" : "descending"}.`;
  };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(place));
    head.append(button);
  });
})();
