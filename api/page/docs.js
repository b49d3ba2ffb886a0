// Search among the operations, and schemas in place. Without this the page is a list.
"use strict";

const search = document.getElementById("search");
const input = search.querySelector("input");
const operations = [...document.querySelectorAll("details")];
search.hidden = false;

function narrow() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const o of operations) {
    const text = o.textContent.toLowerCase();
    o.hidden = !words.every((w) => text.includes(w));
    n += o.hidden ? 0 : 1;
  }
  for (const s of document.querySelectorAll("section")) {
    s.hidden = ![...s.querySelectorAll("details")].some((o) => !o.hidden);
  }
  search.querySelector("output").textContent = words.length ? n + " of " + operations.length : "";
}
input.addEventListener("input", narrow);

let loading;
function load() {
  loading ??= fetch("/openapi.json").then((r) => r.json());
  return loading;
}

// A schema opens below the link to it; what it refers to is opened, too, but not within itself.
function resolved(doc, schema, within) {
  if (Array.isArray(schema)) return schema.map((s) => resolved(doc, s, within));
  if (schema === null || typeof schema !== "object") return schema;
  if (typeof schema.$ref === "string") {
    const name = schema.$ref.split("/").pop();
    if (within.includes(name)) return { $ref: schema.$ref };
    const { $ref, ...rest } = schema;
    return { ...resolved(doc, doc.components.schemas[name], [...within, name]), ...rest };
  }
  return Object.fromEntries(Object.entries(schema).map(([k, v]) => [k, resolved(doc, v, within)]));
}

document.addEventListener("click", async (e) => {
  const link = e.target.closest("a.schema");
  if (!link) return;
  e.preventDefault();
  const at = link.closest("tr") ? link.closest("table") : link.closest("p");
  const open = at.nextElementSibling;
  if (open?.matches("pre") && open.dataset.name === link.textContent) return open.remove();
  if (open?.matches("pre")) open.remove();
  const doc = await load();
  const pre = document.createElement("pre");
  pre.dataset.name = link.textContent;
  pre.textContent = JSON.stringify(resolved(doc, doc.components.schemas[link.textContent], [link.textContent]), null, 2);
  at.after(pre);
});

if (location.hash) {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) target.open = true;
}
