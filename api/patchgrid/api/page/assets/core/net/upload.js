import { problemOf, Problem } from "./api.js";

/** A key that makes sending the same thing twice harmless. */
export function freshKey() {
  const bits = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Send a spec and a pair file; gives the job and whether it was made. Throws `Problem`.
 *
 * By XMLHttpRequest: fetch does not tell how much of a body was sent.
 */
export function submitJob({ spec, file, key, onSent, signal }) {
  const form = new FormData();
  form.append("spec", JSON.stringify(spec));
  form.append("pairs", file, file.name);
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", "v1/jobs");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onSent(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) done(JSON.parse(request.responseText));
      else failed(problemOf(request.status, request.responseText));
    });
    request.addEventListener("error", () => failed(new Problem(0, { detail: "The connection was lost during the upload. Retrying is safe." })));
    request.addEventListener("abort", () => failed(new Problem(0, { detail: "Stopped. Nothing was stored." })));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
