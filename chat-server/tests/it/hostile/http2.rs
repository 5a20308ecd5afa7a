//! Frames of HTTP/2 that are not as RFC 9113 wants them.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{
    World,
    harness::{
        http2::{PREFACE, frame},
        raw::Raw,
        wait::DEADLINE,
    },
};

/// `GET /.well-known/jwks.json` with `:authority` a, of the static table and literals without an index (RFC 7541).
const GET: &[u8] = b"\x82\x86\x04\x16/.well-known/jwks.json\x01\x01a";

pub(crate) fn inputs() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    // Every kind of frame, known or not, with lengths that are right for some of them, on no stream and on one that nobody opened.
    for kind in 0..=12 {
        for stream in [0, 1, 2] {
            for length in [0, 1, 4, 5, 6, 8, 9, 16_384] {
                all.push(frame(kind, 0, stream, &vec![0; length]));
            }
        }
    }
    for flags in [1, 4, 8, 0x20, 0xff] {
        for kind in 0..=9 {
            all.push(frame(kind, flags, 1, &[0xff; 8]));
        }
    }
    // Lengths beyond what a frame may have, announced and not sent.
    all.push(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".to_vec());
    // Blocks of headers that are no HPACK, and that are no request.
    for block in [
        &b""[..],
        b"\x80",
        b"\xff\xff\xff\xff\xff",
        b"\x40\x7f\xff\xff\xff",
        b"\x00\x00\x00",
        b"\x82",
        b"\x82\x82",
        b"\x82\x86",
        b"\x84",
        b"\x88",
        b"\x3f\xff\xff\xff\xff\x7f",
        b"\x82\x86\x04\x00",
        b"\x82\x86\x04\x01*",
        b"\x82\x86\x04\x01 ",
        b"\x82\x86\x84\x00\x01A\x01a",
        b"\x82\x86\x84\x00\x0aconnection\x05close",
        b"\x82\x86\x84\x00\x02te\x04gzip",
        b"\x82\x86\x84\x00\x07:status\x03200",
        b"\x82\x86\x84\x00\x04:bad\x01a",
        b"\x82\x86\x84\x00\x01a\x01a\x82",
        b"\x82\x86\x84\x00\x01a\x02\r\n",
        b"\x82\x86\x84\x00\x01a\x01\x00",
        b"\x82\x86\x84\x01\x03a b",
        b"\x82\x86\x84\x01\x05who@a",
        b"\x82\x86\x84\x01\x01a\x00\x04host\x01b",
    ] {
        all.push(frame(1, 5, 1, block));
        all.push(frame(1, 4, 1, block));
    }
    // Streams that go back, that are the server's, and that were ended.
    all.push([frame(1, 5, 3, GET), frame(1, 5, 1, GET)].concat());
    all.push(frame(1, 5, 2, GET));
    all.push([frame(1, 5, 1, GET), frame(0, 0, 1, b"late")].concat());
    all.push([frame(1, 4, 1, GET), frame(8, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat());
    all.push(frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]));
    all.push([frame(1, 0, 1, GET), frame(1, 4, 3, GET)].concat());
    all.push([frame(1, 0, 1, GET), frame(6, 0, 0, &[0; 8])].concat());
    all.push((0..3_000).flat_map(|_| frame(9, 0, 1, &[])).collect());
    all.push([frame(1, 0, 1, GET), (0..200).flat_map(|_| frame(9, 0, 1, &[0; 1_000])).collect()].concat());
    // Settings out of range.
    for (id, value) in [
        (2_u16, 2_u32),
        (4, 0x8000_0000),
        (5, 0),
        (5, 0xff_ffff + 1),
        (9, u32::MAX),
        (1, u32::MAX),
        (3, 0),
        (6, 0),
    ] {
        all.push(frame(4, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat()));
    }
    // Much of what asks for nothing.
    for (kind, flags, stream, payload) in [
        (6, 0, 0, &[0; 8][..]),
        (4, 0, 0, &[]),
        (0, 0, 1, &[]),
        (2, 0, 1, &[0; 5]),
        (8, 0, 0, &[0, 0, 0, 1]),
        (11, 0, 0, &[0; 100]),
    ] {
        all.push((0..2_000).flat_map(|_| frame(kind, flags, stream, payload)).collect());
    }
    // Requests that are taken back at once.
    all.push(
        (0..500_u32)
            .flat_map(|n| [frame(1, 5, 2 * n + 1, GET), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
            .collect(),
    );
    all
}

/// A request says for which host it is, and says it once (RFC 9113 §8.3.1).
async fn hosts(world: &mut World) {
    // `:status` 200 and 400 of the static table.
    const OK: u8 = 0x88;
    const BAD: u8 = 0x8c;
    let path = b"\x82\x86\x04\x16/.well-known/jwks.json";
    for (host, expected) in [
        (&b"\x01\x01a"[..], OK),
        (b"\x01\x01a\x00\x04host\x01A", OK),
        (b"\x00\x04host\x01a", OK),
        (b"", BAD),
        (b"\x00\x04host\x00", BAD),
        (b"\x01\x01a\x00\x04host\x01b", BAD),
        (b"\x01\x01a\x00\x04host\x00", BAD),
        (b"\x01\x01a\x00\x04host\x01a\x00\x04host\x01a", BAD),
    ] {
        world.tried += 1;
        let mut raw = Raw::connect(&world.server.base_url).await;
        let request = frame(1, 5, 1, &[path, host].concat());
        raw.write([PREFACE, &frame(4, 0, 0, &[]), &request].concat()).await.expect("is written");
        let (kind, payload) = timeout(DEADLINE, async {
            loop {
                let (kind, _, payload) = next_frame(&mut raw).await.expect("answers");
                if matches!(kind, 1 | 3) {
                    return (kind, payload);
                }
            }
        })
        .await
        .expect("in time");
        assert_eq!((kind, payload[0]), (1, expected), "{}", String::from_utf8_lossy(host));
    }
}

/// Whatever comes, the connection ends, or goes on and answers a ping: nothing hangs.
pub(crate) async fn all(world: &mut World) {
    hosts(world).await;
    for input in inputs() {
        world.tried += 1;
        let mut raw = Raw::connect(&world.server.base_url).await;
        let ping = frame(6, 0, 0, b"are-you?");
        let begin = [PREFACE, &frame(4, 0, 0, &[]), &input, &ping].concat();
        let _ = raw.write(begin).await;
        let shown = &input[..input.len().min(40)];
        let ended = timeout(DEADLINE, answered(&mut raw)).await;
        assert!(ended.is_ok(), "neither answered nor ended: {shown:?}");
    }
    // Beginnings that are none.
    for cut in 1..PREFACE.len() {
        world.tried += 1;
        let mut raw = Raw::connect(&world.server.base_url).await;
        let _ = raw.write([&PREFACE[..cut], b"\0\0\0\0"].concat()).await;
        let _ = raw.0.shutdown().await;
        raw.ended().await;
    }
}

/// Reads until the ping is answered, the server says goodbye, or the connection ends.
async fn answered(raw: &mut Raw) {
    while let Some((kind, flags, payload)) = next_frame(raw).await {
        match (kind, flags & 1) {
            (6, 1) if payload == b"are-you?" => return,
            (7, _) => return,
            _ => {}
        }
    }
}

/// Kind, flags and payload of what comes next; `None` at the end.
async fn next_frame(raw: &mut Raw) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    raw.0.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    raw.0.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}
