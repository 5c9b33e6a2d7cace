"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const { endpoint, examples, graphiql } = JSON.parse(byId("config").textContent);
  const { nonce } = document.currentScript;
  const [query, variables, headers, runButton, resetButton, statusLine, answer] =
    ["query", "variables", "headers", "run", "reset", "status", "answer"].map(byId);
  const HINT = "Run sends the query: Ctrl and Enter, or ⌘ and Enter, do the same.";

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const original = ({ query, variables }) => ({ query, variables: JSON.stringify(variables, null, 2) });
  const current = () => examples.find(({ name }) => name === kept.current) ?? examples[0];

  // What was typed, by example; an example that is as it came is not kept, so that a newer one shows.
  const storageKey = `walletgraph ${endpoint}`;
  const kept = { current: examples[0].name, edits: {} };
  try {
    const stored = JSON.parse(localStorage.getItem(storageKey));
    if (isObject(stored?.edits)) Object.assign(kept, stored);
  } catch {} // without storage, or with another's text in it, edits last as long as the page

  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(kept));
    } catch {}
  }

  // Tabs as WAI-ARIA describes them: one stop for the Tab key, arrows move between them.
  function makeTabs(list, names, panelOf, select) {
    const tabs = names.map((name) => element("button", { type: "button", id: `tab-${name}`, textContent: name }));
    const choose = (name) => {
      tabs.forEach((tab, i) => {
        tab.ariaSelected = names[i] === name;
        tab.tabIndex = names[i] === name ? 0 : -1;
      });
      panelOf(name).setAttribute("aria-labelledby", `tab-${name}`);
      select(name);
    };
    tabs.forEach((tab, i) => {
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panelOf(names[i]).id);
      tab.addEventListener("click", () => choose(names[i]));
      tab.addEventListener("keydown", ({ key }) => {
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: -1 }[key];
        if (to === undefined) return;
        const next = (to + tabs.length) % tabs.length;
        choose(names[next]);
        tabs[next].focus();
      });
    });
    list.prepend(...tabs);
    return choose;
  }

  function showExample() {
    const shown = kept.edits[current().name] ?? original(current());
    query.value = shown.query;
    variables.value = shown.variables;
    variables.ariaInvalid = false;
    query.scrollTop = 0;
    resetButton.hidden = !kept.edits[current().name];
    showResult();
  }

  function edited() {
    const now = { query: query.value, variables: variables.value };
    const same = Object.entries(original(current())).every(([name, text]) => now[name] === text);
    if (same) delete kept.edits[current().name];
    else kept.edits[current().name] = now;
    resetButton.hidden = same;
    keep();
  }

  // What each example gave last, and how to stop what is still under way.
  const results = {};
  const running = {};

  function setResult(name, result) {
    results[name] = { ...results[name], ...result };
    if (name === current().name) showResult();
  }

  function showResult() {
    const { value, text = HINT, status = "", mood = "" } = results[current().name] ?? {};
    runButton.textContent = running[current().name] ? "Stop" : "Run";
    statusLine.textContent = status;
    statusLine.className = mood;
    answer.className = value === undefined ? "hint" : "";
    if (value === undefined) answer.textContent = text;
    else showJson(value);
  }

  function showJson(value) {
    const text = JSON.stringify(value, null, 2);
    answer.replaceChildren();
    if (text.length > 400_000) return answer.append(text); // colours would take seconds
    let end = 0;
    for (const { 0: found, 1: name, index } of text.matchAll(/("(?:\\.|[^"\\])*")(?=:)|"(?:\\.|[^"\\])*"|[-\d][\d.eE+-]*|true|false|null/g)) {
      const className = name ? "name" : found[0] === '"' ? "text" : "number";
      answer.append(text.slice(end, index), element("span", { className, textContent: found }));
      end = index + found.length;
    }
    answer.append(text.slice(end));
  }

  function readObject(field) {
    const text = field.value.trim();
    field.ariaInvalid = false;
    try {
      const value = text ? JSON.parse(text) : {};
      if (isObject(value)) return value;
      throw new Error("it is not an object");
    } catch (error) {
      field.ariaInvalid = true;
      throw new Error(`The ${field.id} are not a JSON object: ${error.message}`);
    }
  }

  // Of several operations the one that the cursor is in, or else the first.
  function operation() {
    const found = [...query.value.matchAll(/^\s*(query|mutation|subscription)\s+(\w+)/gm)];
    const [, kind, name] = found.findLast(({ index }) => index <= query.selectionStart) ?? found[0] ?? [];
    return { live: kind === "subscription" || /^\s*subscription\b/.test(query.value), name };
  }

  const post = (payload, signal) =>
    fetch(endpoint, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json",
        "content-type": "application/json",
        ...readObject(headers),
      },
      body: JSON.stringify(payload),
      signal,
    });

  // One operation over graphql-transport-ws, with a socket of its own; what it gives ends it.
  function subscribe(payload, sink) {
    const url = new URL(endpoint, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    let over = false;
    const finish = (tell) => {
      if (over) return;
      over = true;
      socket.close(1000);
      tell();
    };
    socket.onopen = () => send({ type: "connection_init", payload: readObject(headers) });
    socket.onmessage = ({ data }) => {
      const { type, payload: given } = JSON.parse(data);
      if (type === "connection_ack") send({ id: "1", type: "subscribe", payload });
      else if (type === "ping") send({ type: "pong" });
      else if (type === "next" && !over) sink.next(given);
      else if (type === "error") finish(() => (sink.next({ errors: given }), sink.complete()));
      else if (type === "complete") finish(() => sink.complete());
    };
    socket.onclose = ({ code, reason }) => finish(() => sink.error(new Error(`The socket closed: ${reason || code}`)));
    return () => finish(() => sink.complete());
  }

  async function run() {
    const { name: tab } = current();
    const abort = new AbortController();
    const started = performance.now();
    const elapsed = () => `${Math.round(performance.now() - started)} ms`;
    showView("Response");
    running[tab] = () => abort.abort();
    setResult(tab, { status: "Running…", mood: "" });
    try {
      const { live, name } = operation();
      const payload = { query: query.value, variables: readObject(variables), operationName: name };
      readObject(headers);
      if (live) {
        let events = 0;
        await new Promise((resolve, reject) => {
          const next = (value) => {
            const mood = value.errors ? "bad" : "good";
            setResult(tab, { value, mood, status: `Event ${++events} · ${elapsed()}` });
          };
          abort.signal.addEventListener("abort", subscribe(payload, { next, error: reject, complete: resolve }));
        });
        const ended = { status: `Ended after ${events} ${events === 1 ? "event" : "events"} · ${elapsed()}` };
        setResult(tab, events ? ended : { ...ended, value: undefined, text: "No event came." });
      } else {
        const response = await post(payload, abort.signal);
        const text = await response.text();
        const took = elapsed();
        let value;
        try {
          value = JSON.parse(text);
        } catch {} // a proxy's page, say: shown as it is
        const errors = value?.errors?.length ?? 0;
        const count = errors ? ` · ${errors} ${errors === 1 ? "error" : "errors"}` : "";
        const mood = response.ok && value && !errors ? "good" : "bad";
        setResult(tab, { value, text, mood, status: `HTTP ${response.status}${count} · ${took}` });
      }
    } catch (error) {
      const stopped = abort.signal.aborted;
      const status = stopped ? `Stopped · ${elapsed()}` : "Not answered";
      setResult(tab, { value: undefined, text: stopped ? "" : error.message, status, mood: stopped ? "" : "bad" });
    } finally {
      delete running[tab];
      setResult(tab, {});
      const below = matchMedia("(max-width: 760px)").matches; // the answer is, and may be out of sight
      if (below && tab === current().name) byId("answers").scrollIntoView();
    }
  }

  const SPELLED = "kind name ofType { kind name ofType { kind name ofType { kind name } } }";
  const VALUES = `name description type { ${SPELLED} } defaultValue`;
  const INTROSPECTION = `{ __schema { queryType { name } subscriptionType { name } types {
    kind name description enumValues { name description } inputFields { ${VALUES} }
    fields { name description args { ${VALUES} } type { ${SPELLED} } } } } }`;

  const isPublic = ({ name }) => !name.startsWith("_"); // a gateway's part begins so

  const spell = ({ kind, name, ofType }) =>
    kind === "NON_NULL" ? `${spell(ofType)}!` : kind === "LIST" ? `[${spell(ofType)}]` : name;
  const spellValue = ({ name, type, defaultValue }) =>
    `${name}: ${spell(type)}${defaultValue === null ? "" : ` = ${defaultValue}`}`;

  function spellMember(member) {
    if (member.args) {
      const args = member.args.map(spellValue).join(", ");
      return `${member.name}${args && `(${args})`}: ${spell(member.type)}`;
    }
    return member.type ? spellValue(member) : member.name;
  }

  function describe(type, open) {
    const members = (type.fields ?? type.inputFields ?? type.enumValues ?? []).filter(isPublic);
    const rows = members.map((member) => element("div", {}, spellMember(member), ...described(member)));
    const title = element("summary", {}, type.name, element("small", {}, ` ${type.kind.toLowerCase().replace("_", " ")}`));
    return element("details", { open }, title, element("div", {}, ...described(type)), ...rows);
  }

  const described = ({ description }) => (description ? [element("p", {}, description)] : []);

  let loading = null;

  async function loadSchema() {
    const types = byId("types");
    types.textContent = "Loading…";
    try {
      const { data, errors } = await (await post({ query: INTROSPECTION })).json();
      if (!data) throw new Error(errors?.[0]?.message ?? "no answer");
      const { queryType, subscriptionType, types: all } = data.__schema;
      const roots = [queryType?.name, subscriptionType?.name];
      const rank = ({ name }) => (roots.includes(name) ? roots.indexOf(name) : roots.length);
      const shown = all.filter(isPublic);
      shown.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
      types.replaceChildren(...shown.map((type) => describe(type, type.name === queryType.name)));
      searchSchema();
    } catch (error) {
      loading = null;
      types.textContent = `The schema could not be read: ${error.message}`;
    }
  }

  function searchSchema() {
    const wanted = byId("search").value.trim().toLowerCase();
    for (const type of byId("types").querySelectorAll("details")) {
      const [title, , ...rows] = type.children;
      const whole = title.textContent.toLowerCase().includes(wanted);
      for (const row of rows) row.hidden = !whole && !row.textContent.toLowerCase().includes(wanted);
      type.hidden = !whole && rows.every((row) => row.hidden);
      if (wanted) type.open = !type.hidden;
    }
  }

  const views = { Response: byId("response"), Schema: byId("schema") };
  const showView = makeTabs(byId("views"), Object.keys(views), (name) => views[name], (shown) => {
    for (const [name, view] of Object.entries(views)) view.hidden = name !== shown;
    if (shown === "Schema") loading ??= loadSchema();
  });
  const showTab = makeTabs(byId("examples"), examples.map(({ name }) => name), () => byId("request"), (name) => {
    kept.current = name;
    showExample();
    keep();
  });

  runButton.addEventListener("click", () => (running[current().name] ?? run)());
  resetButton.addEventListener("click", () => {
    delete kept.edits[current().name];
    showExample();
    keep();
    query.focus();
  });
  query.addEventListener("input", edited);
  variables.addEventListener("input", edited);
  byId("search").addEventListener("input", searchSchema);
  byId("editor").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!running[current().name]) run();
  });

  showTab(current().name);
  showView("Response");

  const load = ({ tag, url, integrity }) =>
    new Promise((onload, reject) => {
      const place = tag === "link" ? { rel: "stylesheet", href: url } : { src: url };
      const onerror = () => reject(new Error(`${url} cannot be loaded`));
      document.head.append(element(tag, { ...place, integrity, crossOrigin: "anonymous", nonce, onload, onerror }));
    });

  // GraphiQL takes the place of an editor that nobody has touched yet.
  let touched = false;
  for (const event of ["keydown", "pointerdown"]) byId("editor").addEventListener(event, () => (touched = true));

  async function startGraphiql() {
    const host = byId("graphiql");
    window.__webpack_nonce__ = nonce; // where parts of GraphiQL look before they add a style
    try {
      for (const asset of graphiql) await load(asset);
      if (touched) return;
      const { React, ReactDOM, GraphiQL } = window;
      const fetcher = GraphiQL.createFetcher({ url: endpoint, wsClient: { subscribe } });
      const defaultTabs = examples.map(original);
      byId("editor").hidden = true;
      host.hidden = false;
      // Without tabs of an earlier visit it fills in the first one's query, but not its variables.
      const { variables } = localStorage.getItem("graphiql:tabState") ? {} : defaultTabs[0];
      const shown = { fetcher, defaultTabs, variables, defaultEditorToolsVisibility: "variables" };
      const root = ReactDOM.createRoot(host);
      ReactDOM.flushSync(() => root.render(React.createElement(GraphiQL, shown)));
      if (!host.firstChild) throw new Error("GraphiQL shows nothing");
    } catch (error) {
      console.info("This page's own editor stays:", error.message);
      host.hidden = true;
      byId("editor").hidden = false;
    }
  }
  if (graphiql.length) startGraphiql();
})();
