import assert from "node:assert/strict";
import { test } from "node:test";
import { invitationIn } from "../../chat-server/web/ui-signin.js";

test("an address invites to an account or to another password, and to nothing else", () => {
  assert.deepEqual(invitationIn("#invitation=0b6f.Q-_x"), { kind: "invitation", code: "0b6f.Q-_x" });
  assert.deepEqual(invitationIn("#password=0b6f.Q-_x"), { kind: "password", code: "0b6f.Q-_x" });
  for (const hash of ["", "#/c/0190b6a4", "#invitation=", "#invitation=a b", "#other=x", `#password=${"x".repeat(201)}`]) {
    assert.equal(invitationIn(hash), null, hash);
  }
});
