//! Tokens that nobody was given.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{World, harness::ws::TestSocket};

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn inputs(good: &str) -> Vec<String> {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token has three parts: {good}") };
    let json_of = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("is base64url")).expect("is JSON")
    };
    let (head, body) = (json_of(header), json_of(claims));
    let text = |value: &Value| encode(value.to_string().as_bytes());
    let mut all: Vec<String> =
        ["", ".", "..", "...", "a", "a.b", "a.b.c", "null", "undefined", "eyJ", "e30.e30.", "e30.e30.e30"]
            .map(str::to_owned)
            .into();
    // Headers that choose how they are checked (RFC 8725 §2.1), over the same claims and with whatever signature there is.
    for alg in ["none", "None", "NONE", "HS256", "HS512", "RS256", "ES256", "PS256", "EdDSA", "", "a"] {
        for signature in ["", signature, "AAAA"] {
            let mut forged = head.clone();
            if forged["alg"] == alg {
                continue;
            }
            forged["alg"] = json!(alg);
            all.push(format!("{}.{claims}.{signature}", text(&forged)));
        }
    }
    for (name, value) in [
        ("kid", json!("")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(7)),
        ("kid", json!(null)),
        ("jku", json!("http://127.0.0.1:9/")),
        ("x5u", json!("http://127.0.0.1:9/")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("crit", json!(["exp"])),
        ("typ", json!("at+jwt2")),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let mut forged = head.clone();
        forged[name] = value;
        all.push(format!("{}.{claims}.{signature}", text(&forged)));
    }
    // Other claims under the old signature.
    for (name, value) in [
        ("exp", json!(u32::MAX)),
        ("exp", json!(-1)),
        ("exp", json!("never")),
        ("sub", json!(uuid::Uuid::nil())),
        ("sub", json!("")),
        ("sub", json!(null)),
        ("role", json!("owner")),
        ("iat", json!(0)),
        ("nbf", json!(u32::MAX)),
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("sid", json!("")),
    ] {
        let mut forged = body.clone();
        if forged[name] == value {
            continue;
        }
        forged[name] = value;
        all.push(format!("{header}.{}.{signature}", text(&forged)));
        all.push(format!("{header}.{}.", text(&forged)));
    }
    // Cut at every tenth letter, and one letter of it another.
    for at in (1..good.len()).step_by(10) {
        all.push(good[..at].to_owned());
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        if &good[at..=at] != "." {
            all.push(format!("{}{other}{}", &good[..at], &good[at + 1..]));
        }
    }
    for odd in [
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(".{good}"),
        format!("{good}A"),
        format!("{good}="),
        format!("{header}.{claims}"),
        format!("{header}..{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{good},{good}"),
        good.to_uppercase(),
        good.replace('.', "%2e"),
        format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>()),
        "a".repeat(9_000),
        format!("{header}.{}.{signature}", "A".repeat(9_000)),
        format!("{}.{claims}.{signature}", text(&json!({ "alg": "EdDSA", "a": "b".repeat(5_000) }))),
    ] {
        all.push(odd);
    }
    all
}

pub(crate) async fn all(world: &mut World) {
    let good = world.owner.access_token.clone();
    let mut said = None;
    for (n, token) in inputs(&good).into_iter().enumerate() {
        let request =
            world.http.get(world.url("/v1/users/me")).header("Authorization", format!("Bearer {token}"));
        let answer = request.send().await.expect("answers");
        let shown = &token[..token.len().min(120)];
        let problem = world.ends(shown, answer, &[401]).await;
        // One answer for all: what was wrong with it is nobody's business. Without any letter there is none.
        if !token.is_empty() {
            let first = said.get_or_insert_with(|| problem["detail"].clone());
            assert_eq!(*first, problem["detail"], "{shown}");
        }
        if n % 8 == 0 {
            world.tried += 1;
            let mut socket = TestSocket::upgrade(&world.server.base_url, None, None).await.expect("upgrades");
            socket.hello(&token).await;
            assert_eq!(socket.closed().await, Some(4002), "{shown}");
        }
    }
    for scheme in ["bearer", "BEARER"] {
        let request =
            world.http.get(world.url("/v1/users/me")).header("Authorization", format!("{scheme} {good}"));
        let answer = request.send().await.expect("answers");
        world.ends(scheme, answer, &[200]).await;
    }
    for line in ["Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer\u{a0}x", "Digest username=\"a\"", ""] {
        let request = world.http.get(world.url("/v1/users/me")).header("Authorization", line);
        let answer = request.send().await.expect("answers");
        world.ends(line, answer, &[401]).await;
    }
    for token in [
        "",
        "a",
        &good,
        "a.b",
        &world.owner.session.to_string(),
        &format!("{}.AAAA", world.owner.session),
        &"a".repeat(9_000),
    ] {
        let request = world.http.post(world.url("/v1/auth/refresh")).json(&json!({ "refresh_token": token }));
        let answer = request.send().await.expect("answers");
        world.ends(&format!("refresh with {:.60}", token), answer, &[401, 422]).await;
    }
}
