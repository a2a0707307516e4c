// How numbers, times and log lines are written.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const LONGEST = 2000; // characters of a line that are shown at once

const two = (number) => String(number).padStart(2, "0");

/** A score as the static report writes it: .9500, >.9999. */
export function score(value) {
  if (typeof value !== "number" || Number.isNaN(value)) return "–";
  if (value > 0.9999 && value < 1) return ">.9999";
  if (value > 0 && value < 0.0001) return "<.0001";
  return value === 1 ? "1" : value.toFixed(4).replace(/^0/, "");
}

/** A number with its thousands apart; no more digits than it has meaning. */
export function count(value) {
  if (typeof value !== "number") return "–";
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/** A number in few characters: 950, 12k, 3.4M. */
export const short = (value) =>
  value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A number and its noun. */
export const counted = (value, noun, nouns = `${noun}s`) =>
  `${count(value)} ${value === 1 ? noun : nouns}`;

/** A share in per cent. */
export const share = (value) => `${(100 * value).toPrecision(2)} %`;

/** The time of day, with the day where it is not today's; UTC. */
export function moment(iso, now = Date.now()) {
  const time = new Date(iso);
  if (!iso || Number.isNaN(time.getTime())) return "–";
  const clock = `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())}`;
  if (time.toISOString().slice(0, 10) === new Date(now).toISOString().slice(0, 10)) return clock;
  const day = `${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}`;
  const far = Math.abs(now - time) > 200 * 86_400_000;
  return far ? `${day} ${time.getUTCFullYear()}, ${clock}` : `${day}, ${clock}`;
}

/** A length of time: 45 s, 3 min, 2 h 5 min, 4 d. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, seconds);
  if (whole < 1) return `${Math.round(whole * 1000)} ms`;
  if (whole < 90) return `${whole < 10 ? Number(whole.toFixed(1)) : Math.round(whole)} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48)
    return minutes % 60 && hours < 10 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} d`;
}

/** Seconds between two times. */
export const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** How long ago something was. */
export function ago(iso, now = Date.now()) {
  const passed = (now - Date.parse(iso)) / 1000;
  if (Number.isNaN(passed)) return "–";
  return passed < 5 ? "just now" : `${duration(passed)} ago`;
}

/** A line of a log as it can be seen: what would hide, or turn the text around, is shown as a sign. */
export function visible(text) {
  const signs =
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
  const sign = (character) => {
    const code = character.charCodeAt(0);
    return code < 32
      ? String.fromCharCode(0x2400 + code)
      : `\\u${code.toString(16).padStart(4, "0")}`;
  };
  return String(text ?? "").replace(signs, sign);
}

/** The first part of a long text, and how much more there is. */
export function cut(text, most = LONGEST) {
  const seen = visible(text);
  return seen.length > most ? [seen.slice(0, most), seen.length - most] : [seen, 0];
}

/** A line from where its message begins: times and levels before it say little in a list.
 * `message` is the masked one; where its first words are not in the line, the line is whole. */
export function saying(line, message) {
  const words = String(message ?? "")
    .split(/<[^>]*>/)[0]
    .trim();
  const at = words.length < 4 ? -1 : line.indexOf(words);
  return at > 0 ? line.slice(at) : line;
}

/** A text without what differs from one repetition to the next: numbers, hexadecimal names. */
export const alike = (text) => String(text).replace(/\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b/gi, "0");
