// The sign-in card: sign in to an account, or make one.

import { byId } from "./dom.js";
import { inSeconds } from "./format.js";

/** Shows the card; calls `entered` once there is a session. `reason` says why a person is here again. */
export function setUpSignIn({ api, session, entered }) {
  const form = byId("signin-form");
  const [login, register] = [byId("tab-login"), byId("tab-register")];
  const [handle, password, name] = [byId("handle"), byId("password"), byId("display-name")];
  const [problem, submit] = [byId("signin-error"), byId("signin-submit")];
  // What the address invites to: an account, or another password. The code goes out of the address and the history.
  const { kind, code } = invitationIn(location.hash) ?? {};
  if (code) history.replaceState(null, "", location.pathname);
  const redeeming = kind === "password";
  let registering = false;
  let busy = false;

  const choose = (value) => {
    registering = value;
    form.classList.toggle("registering", registering);
    form.classList.toggle("redeeming", redeeming);
    login.setAttribute("aria-pressed", String(!registering));
    register.setAttribute("aria-pressed", String(registering));
    password.autocomplete = registering || redeeming ? "new-password" : "current-password";
    submit.textContent = redeeming ? "Set password" : registering ? "Create account" : "Sign in";
    complain("");
  };
  const complain = (text, field) => {
    problem.textContent = text;
    problem.hidden = !text;
    for (const input of [handle, password]) input.setAttribute("aria-invalid", String(input === field));
    field?.focus();
  };

  login.addEventListener("click", () => choose(false));
  register.addEventListener("click", () => choose(true));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    const who = handle.value.trim().toLowerCase();
    if (!who && !redeeming) return complain("Please enter your handle.", handle);
    if (registering && !/^[a-z0-9][a-z0-9._-]{1,31}$/.test(who)) {
      return complain("A handle has 2 to 32 letters, digits, dots, dashes or underscores.", handle);
    }
    if (!password.value) return complain("Please enter your password.", password);
    if ((registering || redeeming) && [...password.value].length < 8) {
      return complain("The password needs at least 8 characters.", password);
    }
    busy = submit.disabled = true;
    complain("");
    try {
      const answer = redeeming
        ? await api.redeem(code, password.value)
        : registering
          ? await api.register(who, password.value, name.value.trim(), kind === "invitation" ? code : undefined)
          : await api.login(who, password.value);
      password.value = "";
      session.keep(answer);
      entered();
    } catch (error) {
      complain(explain(error, registering), error.code === "conflict" ? handle : password);
    } finally {
      busy = submit.disabled = false;
    }
  });

  return {
    /** Whether whoever came here was invited to, signed in or not. */
    invited: Boolean(code),
    show(reason = "") {
      byId("signin").hidden = false;
      choose(kind === "invitation");
      complain(reason);
      document.title = "Sign in · Folkmoot";
      (redeeming ? password : handle).focus();
    },
    hide() {
      byId("signin").hidden = true;
    },
  };
}

/** `{ kind, code }` of an address such as `/#invitation=CODE`, if it has one. */
export function invitationIn(hash) {
  const [, kind, code] = /^#(invitation|password)=([\w.-]{1,200})$/.exec(hash) ?? [];
  return code ? { kind, code } : null;
}

function explain(error, registering) {
  if (error.code === "unauthenticated" || error.status === 401) return "That handle and password do not match.";
  if (error.code === "conflict" && registering) return "That handle is taken. Please choose another one.";
  if (error.code === "rate_limited") {
    return `Too many attempts. Please try again ${inSeconds(error.retryAfterMs ?? 0) || "in a moment"}.`;
  }
  if (error.status === 0) return "The server cannot be reached right now. Please try again.";
  return `That did not work: ${error.message}`;
}
