// What a person answers: true or false alarm, which line, mutes. Each says what it did.

import { Refused, call } from "./api.js";
import { note } from "./elements.js";
import { moment } from "./wording.js";

/** Do something, and say so where it went wrong; what it gives, or null. */
export async function tried(what, act) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    note(`${what}: ${error.message}`, "trouble");
    return null;
  }
}

/** The kinds of message that an incident is of. */
const kindsOf = (incident) => incident.kinds?.map((one) => one.kind) ?? [incident.kind];

/** Mute the kinds of an incident for some hours. */
export async function mute(incident, hours) {
  const post = (kind) => {
    const body = { stream: incident.stream, kind, hours, by: "page" };
    return call("mutes", { method: "POST", body });
  };
  const done = await tried("Could not mute it", async () => {
    const all = await Promise.all(kindsOf(incident).map(post));
    return all[0];
  });
  if (done)
    note(`Muted until ${moment(done.until)}: more of this kind is listed, but not sent.`);
}

/** End the mutes of an incident's kind. */
export async function unmute(incident) {
  const done = await tried("Could not unmute it", async () => {
    const { mutes } = await call("mutes");
    const kinds = new Set(kindsOf(incident));
    const own = mutes.filter((one) => one.stream === incident.stream && kinds.has(one.kind));
    await Promise.all(own.map((one) => call(`mutes/${one.id}`, { method: "DELETE" })));
    return true;
  });
  if (done) note("No longer muted.");
}

/** Answer for a verdict; what the server made of it, or null. */
export async function answer(id, { answer: given, lines = [], text = "", incident = null }) {
  const body = { id, answer: given, by: "page" };
  if (incident) body.incident = incident;
  if (lines.length) body.lines = lines;
  if (text) body.note = text;
  const done = await tried("Could not store the answer", () =>
    call("feedback", { method: "POST", body }),
  );
  if (!done) return null;
  const what = done.muted?.length > 1 ? `its ${done.muted.length} kinds are` : "its kind is";
  const muted = done.muted_until ? `; ${what} muted until ${moment(done.muted_until)}` : "";
  const words = given === "normal" ? "False alarm" : "True alarm";
  note(`${words}: kept as a label for the next training${muted}.`);
  return done;
}

/** Take an answer back. */
export async function takeBack(number) {
  const done = await tried("Could not take it back", () =>
    call(`feedback/${number}`, { method: "DELETE" }),
  );
  if (done) note("Taken back.");
  return done;
}

/** Answer for an incident: a label on its most anomalous session; a false alarm mutes all its kinds. */
export async function answerFor(incident, given) {
  const whole = await tried("Could not read the incident", () =>
    call(`incidents/${incident.id}`),
  );
  if (!whole) return;
  const top = [...whole.verdicts].sort((one, other) => other.score - one.score)[0];
  if (top) await answer(top.id, { answer: given, incident: incident.id });
  else
    note("Its sessions have been deleted because of their age, so there is nothing left to answer.", "trouble");
}
