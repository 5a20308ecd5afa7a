//! What is no JSON object of the right fields, and of no others, is `malformed`, at every operation that takes one; and so is a body
//! whose encoding is broken.

use chat_protocol::{ErrorCode, Problem};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness;
use crate::harness::{
    TestServer,
    operations::{Operation, operations},
    wait::DEADLINE,
};

async fn is_malformed(answer: Response, what: &str) -> Problem {
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(status, StatusCode::BAD_REQUEST, "{what}: {text}");
    let problem: Problem = serde_json::from_str(&text).expect("a problem");
    assert_eq!(problem.code, ErrorCode::Malformed, "{what}");
    problem
}

/// Values that stand in no field of any body at the same time.
fn strange() -> [Value; 2] {
    [json!({ "an": "object" }), json!([{ "of": "objects" }])]
}

#[tokio::test]
async fn a_body_is_an_object_with_fields_of_their_types() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "den").await;
    let mut fields = 0;
    for Operation { method, path, media_type, body, .. } in operations(&ada, channel) {
        if media_type != "application/json" {
            continue;
        }
        let send = async |body: &Value| {
            let request =
                server.http.request(method.clone(), server.url(&path)).bearer_auth(&ada.access_token);
            let request = request.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
            request.json(body).send().await.expect("answers")
        };
        let body: Value = serde_json::from_slice(&body).expect("is JSON");
        let values: Vec<&Value> = body.as_object().expect("is an object").values().collect();
        for wrong in [json!(values), json!([]), json!("text"), json!(7), Value::Null] {
            is_malformed(send(&wrong).await, &format!("{method} {path} {wrong}")).await;
        }
        for name in body.as_object().expect("is an object").keys() {
            let misspelt = format!("{name}x");
            let mut wrong = body.clone();
            wrong[&misspelt] = json!(null);
            let problem = is_malformed(send(&wrong).await, &format!("{method} {path} {wrong}")).await;
            let said = [format!("unknown field `{misspelt}`"), format!("did you mean `{name}`?")];
            assert!(
                said.iter().all(|part| problem.detail.contains(part)),
                "{method} {path} {wrong}: {problem:?}"
            );
            for strange in strange() {
                let mut wrong = body.clone();
                wrong[name] = strange;
                is_malformed(send(&wrong).await, &format!("{method} {path} {wrong}")).await;
                fields += 1;
            }
        }
    }
    assert!(fields > 0, "some bodies have fields that they need");
}

#[tokio::test]
async fn signing_in_takes_no_array() {
    let server = TestServer::start().await;
    server.register("ada").await;
    for (path, array) in [
        ("/v1/auth/login", json!(["ada", harness::PASSWORD, null])),
        ("/v1/auth/register", json!(["grace", harness::PASSWORD, null, null])),
        ("/v1/auth/refresh", json!(["token"])),
    ] {
        is_malformed(server.post(path).json(&array).send().await.expect("answers"), path).await;
    }
}

#[tokio::test]
async fn a_body_with_broken_chunks_is_malformed() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let address = server.base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "POST /v1/channels HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nnot a length\r\n{{}}\r\n0\r\n\r\n",
        ada.access_token
    );
    stream.write_all(head.as_bytes()).await.expect("is sent");
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("in time").expect("answers");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains(r#""code":"malformed""#), "{answer}");
}
