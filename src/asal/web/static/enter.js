// Signing in: the token comes from the start link's fragment, which browsers do not send, or is pasted in.

import { Refusal, call } from "./api.js";
import { $, write } from "./dom.js";

/** Take the token out of the address before anything else happens, so that no history keeps it. */
export function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return null;
  history.replaceState(null, "", location.pathname);
  return token;
}

/** Sign in with a token; return null, or the reason why it failed. */
export async function enter(token) {
  try {
    await call("/api/enter", { token });
    return null;
  } catch (error) {
    return error instanceof Refusal ? error.text : "The server is away. Is “asal label” running?";
  }
}

/** Show the sign-in page; the page loads again for the person who signs in. */
export function signIn(reason) {
  document.body.dataset.state = "enter";
  write($("enter-error"), reason ?? "");
  const form = $("enter-form");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const failed = await enter($("token").value.trim());
    if (failed === null) location.reload();
    else write($("enter-error"), failed);
    $("token").select();
  };
  $("token").focus();
}

export async function leave() {
  await call("/api/leave", {}).catch(() => null);
  location.reload();
}
