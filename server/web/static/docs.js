// The API page: shows the contract of /openapi.json, and sends what it describes.

const BASE = new URL(".", location.href);
const MOST_SHOWN = 50_000; // characters of a reply
const key = document.getElementById("key");

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Text in which `this` is code.
function rich(text) {
  const parts = text.split("`");
  return parts.map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

const authorization = () => (key.value ? { Authorization: `Bearer ${key.value}` } : {});

// What a value looks like: `{name: string, …}`, with other bodies by their names.
function shape(schema, indent = "") {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((each) => shape(each, indent)).join(" | ");
  if (schema.allOf) return schema.allOf.filter((each) => each.$ref).map((each) => shape(each)).join("");
  if (schema.prefixItems) return `[${schema.prefixItems.map((each) => shape(each)).join(", ")}]`;
  if (schema.type === "array") return `list of ${shape(schema.items, indent)}`;
  if (!schema.properties) return schema.format ?? schema.type ?? "anything";
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties).map(([name, value]) => {
    const optional = schema.required?.includes(name) ? "" : "?";
    const remark = value.description ? `  — ${value.description}` : "";
    return `${inner}${name}${optional}: ${shape(value, inner)}${remark}\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

// An input for a value of that schema; left empty, the value is not sent.
function inputFor({ schema, required }) {
  const flag = schema.anyOf?.[0].type === "boolean";
  const choices = flag ? ["true", "false"] : schema.enum;
  if (choices) return make("select", { required }, ...["", ...choices].map((each) => new Option(each)));
  if (schema.type === "integer") {
    return make("input", { type: "number", min: schema.minimum, max: schema.maximum, required });
  }
  return make("input", { required, spellcheck: false, autocomplete: "off" });
}

function field(name, input, description, place = "") {
  const label = make("label", {}, make("code", {}, name), make("span", { className: "faint" }, ` ${place}`));
  input.id = `${name}-${Math.random()}`;
  label.htmlFor = input.id;
  return make("div", { className: "field" }, label, input, make("small", {}, ...rich(description)));
}

// The inputs of a call, and the request that they make.
function inputs(path, method, operation) {
  const parameters = operation.parameters.map((each) => ({ ...each, input: inputFor(each) }));
  const rows = parameters.map((each) => field(each.name, each.input, each.description, each.in));
  const kinds = Object.keys(operation.responses[200].content);
  const accept = make("select", {}, ...kinds.map((each) => new Option(each)));
  if (kinds.length > 1) rows.push(field("Accept", accept, "The form of the answer.", "header"));
  const file = make("input", { type: "file", required: true });
  const asForm = make("select", {}, new Option("a part of a form"), new Option("the whole body"));
  if (operation.requestBody) {
    rows.unshift(field("image", file, operation.requestBody.description, "body"));
    rows.splice(1, 0, field("sent as", asForm, ""));
  }

  function request() {
    const given = (place) => parameters.filter((each) => each.in === place && each.input.value);
    let filled = path;
    for (const { name, input } of given("path")) {
      filled = filled.replace(`{${name}}`, encodeURIComponent(input.value));
    }
    const url = new URL(filled.slice(1), BASE);
    for (const { name, input } of given("query")) url.searchParams.set(name, input.value);
    const headers = Object.fromEntries(given("header").map(({ name, input }) => [name, input.value]));
    if (kinds.length > 1) headers.Accept = accept.value;
    let body;
    if (operation.requestBody) {
      body = file.files[0];
      if (asForm.selectedIndex === 0) {
        body = new FormData();
        body.append("image", file.files[0]);
      } else {
        headers["Content-Type"] = file.files[0].type || "application/octet-stream";
      }
    }
    return { url, headers, body, method: method.toUpperCase() };
  }
  return { rows, request };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The same request as a command.
function asCurl({ url, headers, body, method }) {
  const words = ["curl"];
  if (!body && method !== "GET") words.push(`-X ${method}`);
  if (key.value) words.push('-H "Authorization: Bearer $KEY"');
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (body instanceof FormData) words.push("-F", quoted(`image=@${body.get("image").name}`));
  else if (body) words.push("--data-binary", quoted(`@${body.name}`));
  return [...words, quoted(url.href)].join(" ");
}

function shown(text, type) {
  let body = text;
  if (type?.startsWith("application/json")) body = JSON.stringify(JSON.parse(text), null, 2);
  if (body.length <= MOST_SHOWN) return body;
  return `${body.slice(0, MOST_SHOWN)}\n… and ${(body.length - MOST_SHOWN).toLocaleString()} characters more`;
}

// Sends a request; what became of it, as elements.
async function send(request) {
  const command = make("pre", {}, asCurl(request));
  const began = performance.now();
  try {
    const { url, headers, body, method } = request;
    const reply = await fetch(url, { method, body, headers: { ...headers, ...authorization() } });
    const text = await reply.text();
    const line = `${reply.status} ${reply.statusText}, ${Math.round(performance.now() - began)} ms`;
    const told = [...reply.headers].map(([name, value]) => `${name}: ${value}\n`).join("");
    return [
      command,
      make("p", {}, make("strong", { className: reply.ok ? "good" : "bad" }, line)),
      make("pre", {}, shown(text, reply.headers.get("Content-Type"))),
      make("pre", { className: "faint" }, told),
    ];
  } catch (error) {
    return [command, make("p", { className: "bad" }, `There was no answer: ${error.message}`)];
  }
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, { description, content = {} }]) => {
    const lines = description.split("\n").map((line) => make("p", {}, ...rich(line.replace(/^- /, ""))));
    const bodies = Object.entries(content).map(([kind, { schema }]) => `${kind}: ${shape(schema)}`);
    const faint = make("p", { className: "faint" }, status < 400 ? bodies.join("; ") : "");
    return make("tr", {}, make("td", {}, make("strong", {}, status)), make("td", {}, ...lines, faint));
  });
  return make("table", {}, ...rows);
}

function call(path, method, operation) {
  const scope = operation.security?.at(-1).apiKey[0];
  const { rows, request } = inputs(path, method, operation);
  const outcome = make("output");
  const button = make("button", {}, "Send");
  const form = make("form", {}, ...rows, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const grave = method === "delete" || scope === "admin";
    if (grave && !confirm(`${operation.summary}?`)) return;
    button.disabled = true;
    outcome.replaceChildren(...(await send(request())));
    button.disabled = false;
  });
  const heading = make(
    "summary",
    {},
    make("span", { className: `method ${method}` }, method),
    make("span", { className: "path" }, path),
    make("span", { className: "faint" }, operation.summary),
    make("span", { className: "scope" }, scope ? `scope ${scope}` : ""),
  );
  const inside = make("div", { className: "inside" });
  if (operation.description) inside.append(make("p", {}, ...rich(operation.description)));
  inside.append(form, outcome, make("h3", {}, "Answers"), answers(operation.responses));
  return make("details", { id: operation.operationId }, heading, inside);
}

function render(contract) {
  const { title, version, description } = contract.info;
  document.title = title;
  document.getElementById("title").textContent = `${title} ${version}`;
  const paragraphs = description.split("\n\n").map((each) => make("p", {}, ...rich(each)));
  document.getElementById("about").replaceChildren(...paragraphs);
  const topics = new Map();
  for (const [path, methods] of Object.entries(contract.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [topic] = operation.tags;
      if (!topics.has(topic)) topics.set(topic, make("section", {}, make("h2", {}, topic)));
      topics.get(topic).append(call(path, method, operation));
    }
  }
  document.getElementById("calls").replaceChildren(...topics.values());
  const bodies = Object.entries(contract.components.schemas).map(([name, schema]) =>
    make("details", { id: name }, make("summary", {}, make("span", { className: "path" }, name),
      make("span", { className: "faint" }, ...rich(schema.description ?? ""))), make("pre", {}, shape(schema))));
  const section = document.getElementById("bodies");
  section.replaceChildren(section.firstElementChild, ...bodies);
  section.hidden = false;
}

async function load() {
  const trouble = document.getElementById("trouble");
  const reply = await fetch(new URL("openapi.json", BASE), { headers: authorization() });
  const body = await reply.json();
  trouble.hidden = reply.ok;
  if (reply.ok) render(body);
  else trouble.textContent = key.value ? body.response : "Type an API key with the scope read.";
}

key.addEventListener("change", () => {
  if (!document.getElementById("calls").hasChildNodes()) load();
});
load();
