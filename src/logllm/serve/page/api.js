// Requests to the server, with the token where it asks for one.

import { byId } from "./elements.js";

const KEY = "logllm-token";
let prompt = null; // one question at a time, however many requests wait for its answer

/** An answer that says no. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The address of something below `v1/`, wherever the page is mounted. */
export function address(path, parameters = {}) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

/** The token that this tab has. */
export const token = () => sessionStorage.getItem(KEY) || "";

/** Ask for a token; with `wrong`, after one that was refused. */
function ask(wrong) {
  const dialog = byId("token");
  if (wrong) byId("token-text").textContent = "This token was refused. Type another one.";
  byId("token-value").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    const close = () => {
      const typed = byId("token-value").value.trim();
      if (!typed) return void dialog.showModal(); // Esc: there is nothing to see without it
      dialog.removeEventListener("close", close);
      sessionStorage.setItem(KEY, typed);
      resolve();
    };
    dialog.addEventListener("close", close);
  });
}

/** Forget the token, and begin anew. */
export function forget() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

/** Nobody answered: a refusal as well; that a request was given up by the page stays what it is. */
function unreached(error) {
  throw error.name === "AbortError" ? error : new Refused(0, "the server cannot be reached");
}

/** A request with the token; a token is asked for as often as one is refused. */
export async function send(url, options = {}) {
  for (;;) {
    const used = token();
    const headers = { ...options.headers };
    if (used) headers.Authorization = `Bearer ${used}`;
    const request = { ...options, headers, cache: "no-store", credentials: "omit" };
    const response = await fetch(url, request).catch(unreached);
    if (response.status !== 401) return response;
    await response.body?.cancel();
    if (token() !== used) continue; // another request has been given one meanwhile
    prompt ??= ask(Boolean(used)).finally(() => (prompt = null));
    await prompt;
  }
}

/** What an answer says that is no success. */
async function refusal(response) {
  try {
    const told = await response.json();
    return told.error?.message || told.detail || response.statusText;
  } catch {
    return response.status >= 500 ? "the server cannot be reached" : response.statusText;
  }
}

/** JSON of a request. Raises `Refused`, with status 0 where nobody answers. */
export async function call(
  path,
  { parameters = {}, method = "GET", body = null, signal = null } = {},
) {
  const options = { method, signal };
  if (method !== "GET") options.headers = { "Content-Type": "application/json" };
  if (body !== null) options.body = JSON.stringify(body);
  const response = await send(address(path, parameters), options);
  if (!response.ok) throw new Refused(response.status, await refusal(response));
  return response.status === 204 ? {} : response.json().catch(unreached);
}
