//! Bodies, parameters and headers of REST that are not what an operation takes.

use serde_json::json;

use super::World;

/// Operations with a JSON body, and one that is good but for whom it is about.
const OPERATIONS: [(&str, &str, &str); 14] = [
    ("POST", "/v1/auth/register", r#"{"handle":"h","password":"p"}"#),
    ("POST", "/v1/auth/login", r#"{"handle":"nobody","password":"wrong"}"#),
    ("POST", "/v1/auth/refresh", r#"{"refresh_token":"a"}"#),
    ("POST", "/v1/auth/redeem", r#"{"code":"a","password":"wrong password"}"#),
    ("POST", "/v1/auth/password", r#"{"current":"a","new":"another password"}"#),
    ("POST", "/v1/channels", r#"{"kind":"public","name":""}"#),
    ("PATCH", "/v1/channels/CHANNEL", r#"{"name":""}"#),
    ("POST", "/v1/channels/CHANNEL/members", r#"{"users":["a"]}"#),
    ("POST", "/v1/channels/CHANNEL/messages", r#"{"text":""}"#),
    ("PATCH", "/v1/channels/CHANNEL/messages/2", r#"{"text":""}"#),
    ("PUT", "/v1/channels/CHANNEL/read", r#"{"seq":-1}"#),
    ("POST", "/v1/dms", r#"{"users":["a"]}"#),
    ("PATCH", "/v1/users/OWNER", r#"{"display_name":""}"#),
    ("POST", "/v1/invitations", r#"{"uses":0}"#),
];

fn bodies(good: &str) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "}",
        "[]",
        "null",
        "true",
        "1",
        "\"a\"",
        "{}{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":1}}",
        "{\"__proto__\":{}}",
        "{\"\":1}",
        "{\"a\\u0000\":1}",
        "{\"\\ud800\":1}",
        "/**/{}",
        "{} //",
        "NaN",
        "{\"a\":1e999}",
        "\u{feff}{}",
        "<a/>",
        "a=b&c=d",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push(vec![0xff, 0xfe, b'{', 0, b'}', 0]);
    all.push(b"{\"a\":\"\xff\"}".to_vec());
    all.push(vec![0; 100]);
    all.push("[".repeat(100_000).into_bytes());
    all.push("{\"a\":".repeat(20_000).into_bytes());
    all.push(format!("{{\"a\":{}}}", "9".repeat(50_000)).into_bytes());
    all.push(format!("{{{}}}", vec!["\"a\":1"; 10_000].join(",")).into_bytes());
    all.push(good.as_bytes().to_vec());
    all.push(good.as_bytes()[..good.len() - 1].to_vec());
    all.push(format!("{good}{good}").into_bytes());
    all.push(good.replacen('{', "{\"unknown\":1,", 1).into_bytes());
    // The same field twice: which of them would count?
    all.push(good.replacen('{', &format!("{},", &good[..good.len() - 1]), 1).into_bytes());
    all
}

pub(crate) async fn all(world: &mut World) {
    for (method, path, good) in OPERATIONS {
        let path = path.replace("CHANNEL", &world.channel).replace("OWNER", &world.owner.user.id.to_string());
        for body in bodies(good) {
            let shown = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(100)]));
            let request = world.call(method, &path).header("Content-Type", "application/json").body(body);
            let answer = request.send().await.expect("answers");
            world.ends(&shown, answer, &[400, 401, 403, 404, 422]).await;
        }
        for media_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=a",
            "application/xml",
            "json",
            "\u{1}a",
        ] {
            let request = world.call(method, &path).body(good);
            let request = if let Ok(value) = media_type.parse::<reqwest::header::HeaderValue>() {
                request.header("Content-Type", value)
            } else {
                request
            };
            let answer = request.send().await.expect("answers");
            world.ends(&format!("{method} {path} as {media_type}"), answer, &[400, 415]).await;
        }
        let large = format!("{{\"a\":\"{}\"}}", "b".repeat(200_000));
        let request = world.call(method, &path).header("Content-Type", "application/json").body(large);
        let answer = request.send().await.expect("answers");
        world.ends(&format!("{method} {path} 200 kB"), answer, &[413]).await;
    }
    lists(world).await;
    parameters(world).await;
    keys(world).await;
}

/// Lists that are one longer than they may be.
async fn lists(world: &mut World) {
    let ids = |count: usize| (0..count).map(|_| uuid::Uuid::new_v4().to_string()).collect::<Vec<_>>();
    let channel = format!("/v1/channels/{}", world.channel);
    for (method, path, body) in [
        ("POST", "/v1/dms".to_owned(), json!({ "users": ids(16) })),
        ("POST", format!("{channel}/members"), json!({ "users": ids(101) })),
        (
            "POST",
            "/v1/channels".to_owned(),
            json!({ "kind": "private", "name": "crowd", "members": ids(101) }),
        ),
        ("POST", format!("{channel}/messages"), json!({ "text": "", "files": ids(11) })),
        ("POST", "/v1/invitations".to_owned(), json!({ "uses": 1_001 })),
        ("POST", "/v1/invitations".to_owned(), json!({ "expires_in": 2_592_001 })),
    ] {
        let answer = world.call(method, &path).json(&body).send().await.expect("answers");
        world.ends(&format!("{method} {path} {:.60}", body.to_string()), answer, &[422]).await;
    }
}

/// Parts of the path and of the query.
async fn parameters(world: &mut World) {
    let strange = [
        "",
        "0",
        "-1",
        "1.5",
        "1e3",
        "99999999999999999999",
        "a",
        "%00",
        "%ff",
        "%27%20OR%201=1",
        "../..",
        "%2e%2e%2f",
        "null",
        "true",
        "[]",
        "+",
        "%20",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "{00000000-0000-0000-0000-000000000000}",
        "%F0%9F%91%8D",
        "%E2%80%AE",
        "%ED%A0%80",
    ];
    let channel = world.channel.clone();
    for template in [
        "/v1/users?limit=X",
        "/v1/users?cursor=X",
        "/v1/users?q=X",
        "/v1/users?ids=X",
        "/v1/channels?limit=X",
        "/v1/channels?cursor=X",
        "/v1/users/X",
        "/v1/channels/X",
        "/v1/channels/X/messages",
        "/v1/channels/X/events",
        "/v1/files/X",
        "/v1/files/X/content",
        "/v1/channels/CHANNEL/messages?limit=X",
        "/v1/channels/CHANNEL/messages?before=X",
        "/v1/channels/CHANNEL/messages?cursor=X",
        "/v1/channels/CHANNEL/events?after=X",
        "/v1/channels/CHANNEL/events?generation=X",
        "/v1/channels/CHANNEL/members?cursor=X",
    ] {
        for value in strange {
            let path = template.replace("CHANNEL", &channel).replace('X', value);
            let answer = world.call("GET", &path).send().await.expect("answers");
            world.ends(&path, answer, &[200, 400, 404, 405, 409, 422]).await;
        }
    }
    for (method, template) in [
        ("PATCH", "/v1/channels/CHANNEL/messages/X"),
        ("DELETE", "/v1/channels/CHANNEL/messages/X"),
        ("PUT", "/v1/channels/CHANNEL/messages/2/reactions/X"),
        ("DELETE", "/v1/channels/CHANNEL/messages/2/reactions/X"),
        ("PUT", "/v1/channels/CHANNEL/messages/X/reactions/a"),
        ("DELETE", "/v1/channels/CHANNEL/members/X"),
        ("DELETE", "/v1/auth/sessions/X"),
        ("DELETE", "/v1/invitations/X"),
    ] {
        for value in strange {
            let path = template.replace("CHANNEL", &channel).replace('X', value);
            let answer =
                world.call(method, &path).json(&json!({ "text": "x" })).send().await.expect("answers");
            // A thumb is one that can be put up, and taken back once.
            world.ends(&format!("{method} {path}"), answer, &[200, 204, 400, 403, 404, 405, 409, 422]).await;
        }
    }
}

/// What is no idempotency key.
async fn keys(world: &mut World) {
    let path = world.url(&format!("/v1/channels/{}/messages", world.channel));
    let id = uuid::Uuid::new_v4();
    let (braced, plain, urn) = (format!("{{{id}}}"), id.simple().to_string(), id.urn().to_string());
    for key in [
        "",
        "a",
        "0",
        "\"\"",
        "00000000-0000-0000-0000-00000000000",
        "{}",
        "a,b",
        &"a".repeat(9_000),
        &braced,
        &plain,
        &urn,
    ] {
        let request =
            world.http.post(&path).bearer_auth(&world.owner.access_token).header("Idempotency-Key", key);
        let answer = request.json(&json!({ "text": "x" })).send().await.expect("answers");
        world.ends(&format!("a key {key:.40}"), answer, &[400]).await;
    }
    for count in [0, 2] {
        let mut request = world.http.post(&path).bearer_auth(&world.owner.access_token);
        for _ in 0..count {
            request = request.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
        }
        let answer = request.json(&json!({ "text": "x" })).send().await.expect("answers");
        world.ends(&format!("{count} keys"), answer, &[400]).await;
    }
}
