import { signIn } from "../core/net/access.js";
import { go, route } from "../core/nav/route.js";
import { useTitle } from "../core/nav/title.js";
import { html, useState } from "../core/ui.js";
import { ProblemBox } from "../parts/problem.js";

export function SignIn({ reload }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useTitle("Sign in");

  async function enter(event) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await signIn(token.trim());
      if (route.get().parts[0] === "signin") go(["jobs"]);
      reload();
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  }

  return html`<h1>Sign in</h1>
    <p>This server requires a token. Ask its operator for one.</p>
    <form class="narrow" onSubmit=${enter}>
      <label class="field">
        <span>Token</span>
        <input type="password" name="token" required autocomplete="current-password" spellcheck=${false} value=${token} onInput=${(event) => setToken(event.target.value)} />
      </label>
      <p><button type="submit" class="main" disabled=${busy || !token.trim()}>Sign in</button></p>
      <${ProblemBox} problem=${problem} />
    </form>
    <p class="muted">The token is stored in a cookie in this browser, not readable by scripts, until you sign out.</p>`;
}
