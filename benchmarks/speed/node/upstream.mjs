// Requests to the upstreams over kept connections, and lists of theirs that are kept in the process.

import { Pool } from "undici";

const TIMEOUT_MS = 10_000;

/** One REST interface. `dispatch` is undici's own lowest level: it spares a stream and its events for each body. */
export class Upstream {
  constructor(baseUrl, headers) {
    const { origin, pathname } = new URL(baseUrl);
    this.pool = new Pool(origin, { headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
    this.prefix = pathname.replace(/\/$/, "");
    this.headers = { ...headers, accept: "application/json" };
  }

  /** The body of an answer, as text. */
  get(path) {
    return new Promise((resolve, reject) => {
      const options = { method: "GET", path: this.prefix + path, headers: this.headers };
      this.pool.dispatch(options, new Collector(path, resolve, reject));
    });
  }
}

class Collector {
  constructor(path, resolve, reject) {
    this.path = path;
    this.resolve = resolve;
    this.reject = reject;
    this.chunks = [];
  }

  onRequestStart() {}

  onResponseStart(controller, status) {
    if (status !== 200) this.reject(new Error(`${this.path} answered ${status}`));
  }

  onResponseData(controller, chunk) {
    this.chunks.push(chunk);
  }

  onResponseEnd() {
    const { chunks } = this;
    this.resolve((chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).toString());
  }

  onResponseError(controller, error) {
    this.reject(error);
  }
}

/** What `load` gave, for as long as it is fresh; for `staleMs` longer where it cannot be renewed, and then null. */
export class Kept {
  constructor(load, freshMs, staleMs) {
    this.load = load;
    this.freshMs = freshMs;
    this.staleMs = staleMs;
    this.value = null;
    this.loadedAt = -Infinity;
    this.loading = null;
  }

  /** The value, or a promise of it. */
  get() {
    if (performance.now() - this.loadedAt < this.freshMs) return this.value;
    this.loading ??= this.renew().finally(() => (this.loading = null));
    return this.loading;
  }

  async renew() {
    try {
      this.value = await this.load();
      this.loadedAt = performance.now();
    } catch {
      if (performance.now() - this.loadedAt >= this.freshMs + this.staleMs) this.value = null;
    }
    return this.value;
  }
}
