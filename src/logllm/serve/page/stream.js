// The live stream: server-sent events read through fetch, so that the token goes along. It is opened
// again by itself, with the last change that was taken, whatever became of the server.

import { Refused, address, send } from "./api.js";

const SILENCE = 25_000; // ms without a byte; the server says something every ten seconds
const FIRST_WAIT = 400; // ms
const LONGEST_WAIT = 15_000;

/** The events of a text stream, as they come: `{id, event, data}`. */
export async function* events(body, heard = () => {}) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  let event = { id: NaN, event: "message", data: [] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length) yield { ...event, data: event.data.join("\n") };
          event = { id: NaN, event: "message", data: [] };
          continue;
        }
        const [, name, text] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "data") event.data.push(text);
        else if (name === "event") event.event = text;
        else if (name === "id") event.id = Number(text);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export class Stream {
  #after;
  #waits = 0;
  #ending = null;
  #wake = null;
  #closed = false;

  /** `take(event, object)` for what comes, `tell(state, seconds)` for how it stands with the connection. */
  constructor({ after, take, tell }) {
    this.#after = after;
    this.take = take;
    this.tell = tell;
    addEventListener("online", () => this.retry());
    addEventListener("pagehide", () => this.close());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
  }

  /** Read until it is closed. */
  async run() {
    while (!this.#closed) {
      this.tell("connecting");
      try {
        await this.#read();
      } catch (error) {
        const lost = error instanceof TypeError || error instanceof DOMException; // in the middle
        if (!lost && !(error instanceof Refused)) console.error(error);
      }
      if (!this.#closed) await this.#wait();
    }
  }

  /** Do not wait any longer. */
  retry() {
    this.#wake?.();
  }

  close() {
    this.#closed = true;
    this.#ending?.abort();
  }

  async #read() {
    this.#ending = new AbortController();
    let watchdog = null;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.#ending.abort(), SILENCE);
    };
    heard();
    try {
      const options = { headers: { Accept: "text/event-stream" }, signal: this.#ending.signal };
      const response = await send(address("stream", { after: this.#after }), options);
      if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
        await response.body?.cancel();
        return;
      }
      this.#waits = 0;
      this.tell("live");
      for await (const event of events(response.body, heard)) {
        this.#take(event);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** One event; its id is the last change of which all has come. */
  #take({ id, event, data }) {
    const object = JSON.parse(data);
    try {
      this.take(event, object);
    } catch (error) {
      console.error(error); // a fault of the page: what comes next is taken all the same
    }
    if (Number.isFinite(id)) this.#after = id;
  }

  async #wait() {
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#waits);
    this.#waits += 1;
    const wait = longest * (0.5 + Math.random() / 2);
    this.tell("lost", wait / 1000);
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, wait);
    });
    this.#wake = null;
  }
}
