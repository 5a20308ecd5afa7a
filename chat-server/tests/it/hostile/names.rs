//! Names and texts that show nothing, deceive, or are something else to another program.

use serde_json::json;

use super::{World, harness::PASSWORD};

/// What no name may be: it shows nothing, or turns the text around it.
const REFUSED: [&str; 22] = [
    "",
    " ",
    "\u{a0}",
    "\u{2003}",
    "\u{200b}",
    "\u{200c}",
    "\u{200d}",
    "\u{2060}",
    "\u{feff}",
    "\u{ad}",
    "\u{202e}",
    "a\u{202e}b",
    "\u{2066}a",
    "a\u{2069}",
    "\u{200e}",
    "a\u{200f}",
    "\0",
    "a\0",
    "\u{7}",
    "a\nb",
    "\u{1b}[31ma",
    "\u{fe0f}",
];

/// What may be one or not, and breaks nothing.
const STRANGE: [&str; 36] = [
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "\\",
    "a/b",
    "C:\\a",
    "con",
    "nul.txt",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'; DROP TABLE users; --",
    "${jndi:ldap://a}",
    "{{7*7}}",
    "%s%n",
    "%00",
    "a%0d%0aSet-Cookie: a=b",
    "=cmd|' /C calc'!A0",
    "\u{fdd0}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{fffc}",
    "\u{e000}",
    "e\u{301}",
    "\u{e9}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f469}\u{200d}\u{1f680}",
    "\u{5e2}\u{5d3}\u{5d4}",
    "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}",
    "\u{430}dmin",
    "\u{ff21}da",
    "\u{212b}",
    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{1f600}",
    "@here",
    "#general",
];

pub(crate) async fn all(world: &mut World) {
    let me = format!("/v1/users/{}", world.owner.user.id);
    let channel = format!("/v1/channels/{}", world.channel);
    let messages = format!("{channel}/messages");
    let handled = [200, 201, 400, 403, 409, 422];
    for (name, may_be) in
        REFUSED.iter().map(|name| (*name, false)).chain(STRANGE.iter().map(|name| (*name, true)))
    {
        let expected: &[u16] = if may_be { &handled } else { &[422] };
        for (method, path, body) in [
            ("PATCH", me.as_str(), json!({ "display_name": name })),
            ("PATCH", &channel, json!({ "name": name })),
            ("POST", "/v1/channels", json!({ "kind": "public", "name": name })),
            ("POST", "/v1/auth/register", json!({ "handle": name, "password": PASSWORD })),
            (
                "POST",
                "/v1/auth/register",
                json!({ "handle": "someone", "password": PASSWORD, "display_name": name }),
            ),
        ] {
            // Without a display name the handle stands for it, so a blank one is none.
            let blank = name.trim().is_empty() && body["handle"] == "someone";
            let expected = if blank { &handled } else { expected };
            let answer = world.call(method, path).json(&body).send().await.expect("answers");
            world.ends(&format!("{method} {path} {body}"), answer, expected).await;
        }
        for (method, path, body) in [
            ("PATCH", channel.as_str(), json!({ "topic": name })),
            ("POST", &messages, json!({ "text": name })),
            ("POST", "/v1/invitations", json!({ "note": name })),
        ] {
            let answer = world.call(method, path).json(&body).send().await.expect("answers");
            world.ends(&format!("{method} {path} {body}"), answer, &handled).await;
        }
    }
    for (length, field, path, method) in [
        (65, "display_name", me.as_str(), "PATCH"),
        (81, "name", &channel, "PATCH"),
        (251, "topic", &channel, "PATCH"),
        (16_385, "text", &messages, "POST"),
    ] {
        for letter in ["a", "\u{e9}", "\u{1f600}"] {
            let answer = world
                .call(method, path)
                .json(&json!({ field: letter.repeat(length) }))
                .send()
                .await
                .expect("answers");
            world.ends(&format!("{field} of {length} {letter}"), answer, &[413, 422]).await;
        }
    }
    // It is called as at first, for what comes after this.
    let back = world.call("PATCH", &channel).json(&json!({ "name": "hall" })).send().await.expect("answers");
    world.ends("the name", back, &[200]).await;
}
