//! Uploads and downloads that are not as they should be.

use super::World;

const NAMES: [&str; 20] = [
    "",
    "%00",
    "..",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a%0d%0aX:%20y",
    "a%22;filename=%22b",
    "%ff",
    "%E2%80%AEgpj.exe",
    "%E2%80%8B",
    "con",
    "a/b",
    "a%5Cb",
    ".",
    "%F0%9F%91%8D.png",
    "a.html",
    "a.svg",
    "%3Cscript%3E",
    "a%09b",
    "nul%00.txt",
];

const RANGES: [&str; 30] = [
    "bytes=0-0",
    "bytes=-1",
    "bytes=-0",
    "bytes=9-",
    "bytes=10-",
    "bytes=5-2",
    "bytes=-999",
    "bytes=0-999",
    "bytes=",
    "bytes",
    "bytes=a-b",
    "bytes=--1",
    "bytes=1",
    "bytes= 0-1",
    "bytes=0-1,3-4",
    "bytes=0-0,-1",
    "bytes=0-,0-,0-,0-,0-",
    "bytes=,",
    "bytes=0-1,",
    "bytes=,0-1",
    "lines=0-1",
    "BYTES=0-1",
    "bytes=0x0-0x1",
    "bytes=99999999999999999999-",
    "bytes=0-99999999999999999999",
    "bytes=+0-1",
    "bytes=0 - 1",
    "",
    "none",
    "bytes=18446744073709551615-",
];

pub(crate) async fn all(world: &mut World) {
    for name in NAMES {
        let path = format!("/v1/files?channel={}&name={name}", world.channel);
        for media_type in ["text/html", "image/svg+xml", "a", "text/plain; charset=\"", "multipart/form-data"]
        {
            let request = world
                .call("POST", &path)
                .header("Content-Type", media_type)
                .body("<script>alert(1)</script>");
            let answer = request.send().await.expect("answers");
            world.ends(&format!("{path} as {media_type}"), answer, &[201, 400, 422]).await;
        }
    }
    for query in [
        "",
        "?",
        "?channel=",
        "?name=a",
        "?channel=a&name=a",
        "?channel=CHANNEL",
        "?channel=CHANNEL&channel=CHANNEL&name=a",
        "?channel=CHANNEL&name=a&name=b",
    ] {
        let path = format!("/v1/files{}", query.replace("CHANNEL", &world.channel));
        let answer = world.call("POST", &path).body("x").send().await.expect("answers");
        world.ends(&path, answer, &[400, 404, 422]).await;
    }
    let long = format!("/v1/files?channel={}&name={}", world.channel, "a".repeat(256));
    let answer = world.call("POST", &long).body("x").send().await.expect("answers");
    let file = world.ends("a long name", answer, &[201]).await;
    assert_eq!(file["name"].as_str().map(str::len), Some(255), "{file}");
    let path = format!("/v1/files/{}/content", world.file);
    for method in ["GET", "HEAD"] {
        for range in RANGES {
            let answer = world.call(method, &path).header("Range", range).send().await.expect("answers");
            world.tried += 1;
            let status = answer.status().as_u16();
            assert!([200, 206, 416].contains(&status), "{method} {range:?}: {status}");
            let text = answer.text().await.expect("a body");
            assert!(status == 416 || "0123456789".contains(&text), "{method} {range:?}: {text}");
        }
    }
    for (name, value) in [
        ("If-None-Match", "*"),
        ("If-None-Match", "\"\""),
        ("If-None-Match", "W/\"a\", \"b"),
        ("If-Range", "\"a\""),
        ("If-Range", "yesterday"),
        ("If-Match", "\"a\""),
        ("If-Modified-Since", "a"),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Accept-Encoding", "gzip;q=a"),
        ("Accept", "*/*;q=9"),
    ] {
        let answer = world
            .call("GET", &path)
            .header(name, value)
            .header("Range", "bytes=0-1")
            .send()
            .await
            .expect("answers");
        world.tried += 1;
        assert!(
            [200, 206, 304, 400, 412, 416].contains(&answer.status().as_u16()),
            "{name}: {value}: {}",
            answer.status()
        );
    }
}
