//! The web client and the headers that keep browsers safe.

use reqwest::{Method, Response};

use crate::harness::TestServer;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

async fn get(server: &TestServer, path: &str) -> Response {
    server.get(path).send().await.expect("is answered")
}

#[tokio::test]
async fn the_page_and_all_that_it_names_are_served() {
    let server = TestServer::start().await;
    let page = get(&server, "/").await;
    assert_eq!((page.status().as_u16(), header(&page, "content-type")), (200, "text/html; charset=utf-8"));
    let html = page.text().await.expect("text");
    let named: Vec<&str> = html.split('"').filter(|part| part.starts_with("/app/")).collect();
    assert!(named.len() >= 5, "{named:?}");
    for path in named {
        let asset = get(&server, path).await;
        assert_eq!(asset.status(), 200, "{path}");
        let media_type = match path.rsplit_once('.').expect("an ending").1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "webmanifest" => "application/manifest+json",
            other => panic!("unexpected .{other}"),
        };
        assert_eq!(header(&asset, "content-type"), media_type);
        assert_eq!(header(&asset, "content-security-policy"), POLICY);
        assert_eq!(header(&asset, "cache-control"), "no-cache");
        let etag = header(&asset, "etag").to_owned();
        let again = server.get(path).header("if-none-match", &etag).send().await.expect("is answered");
        assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, etag.as_str()), "{path}");
    }
    for path in ["/app/nothing.js", "/app/", "/app/..%2f..%2fCargo.toml", "/app/index"] {
        assert_eq!(get(&server, path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn every_answer_says_what_it_is_not() {
    let server = TestServer::start().await;
    for path in ["/", "/openapi.json", "/asyncapi.json", "/v1/users/me", "/nothing", "/.well-known/jwks.json"]
    {
        let response = get(&server, path).await;
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer", "{path}");
        assert!(header(&response, "content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(!header(&response, "cache-control").is_empty(), "{path}");
    }
    assert_eq!(header(&get(&server, "/v1/users/me").await, "cache-control"), "no-store");
}

#[tokio::test]
async fn the_served_descriptions_are_the_checked_in_ones() {
    let server = TestServer::start().await;
    for name in ["openapi.json", "asyncapi.json"] {
        let response = get(&server, &format!("/{name}")).await;
        assert_eq!(header(&response, "content-type"), "application/json");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        let checked_in = std::fs::read_to_string(path).expect("is checked in");
        assert!(response.text().await.expect("text") == checked_in, "{name}");
    }
}

#[tokio::test]
async fn only_listed_origins_are_let_in() {
    let server =
        TestServer::with(|config| config.gateway.allowed_origins = vec!["https://chat.example".into()]).await;
    let closed = TestServer::start().await;
    for (server, origin, allowed) in [
        (&server, "https://chat.example", "https://chat.example"),
        (&server, "https://evil.example", ""),
        (&closed, "https://chat.example", ""),
    ] {
        let preflight =
            server.http.request(Method::OPTIONS, server.url("/v1/channels")).header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "POST");
        let response = preflight.send().await.expect("is answered");
        assert_eq!(header(&response, "access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(header(&response, "access-control-allow-credentials"), "");
    }
}
