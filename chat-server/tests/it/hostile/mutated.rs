//! The other inputs with bytes changed by chance, for as long as is asked for: the long form, `make hostile`.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{
    World,
    harness::{
        http2::PREFACE,
        raw::{KEY, Raw, upgrade_request},
    },
    http1, http2, sockets,
};

/// How long what waits for more is waited for.
const WAIT: Duration = Duration::from_millis(50);

/// Nothing is answered with a 5xx, and the server is there for everybody else.
pub(crate) async fn all(world: &mut World, seconds: u64, seed: u64) {
    println!("mutated: {seconds} s, FOLKMOOT_HOSTILE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let upgrade = upgrade_request(&format!("Host: a\r\nSec-WebSocket-Key: {KEY}\r\n")).into_bytes();
    let mut inputs = http1::inputs();
    inputs.extend(http2::inputs().into_iter().map(|frames| [PREFACE, &frames].concat()));
    inputs.extend(sockets::inputs().into_iter().map(|frames| [&upgrade[..], &frames].concat()));
    inputs.retain(|input| input.len() < 4_096);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut shown = Instant::now();
    while Instant::now() < end {
        let mut bytes = inputs[rng.random_range(0..inputs.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            mutate(&mut bytes, &mut rng);
        }
        world.tried += 1;
        let mut raw = Raw::connect(&world.server.base_url).await;
        let _ = raw.write(&bytes).await;
        let mut answer = vec![0; 16];
        let read = timeout(WAIT, raw.0.read(&mut answer)).await;
        if let Ok(Ok(_)) = read {
            assert!(
                !answer.starts_with(b"HTTP/1.1 5"),
                "{:?}: {:?}",
                bytes.escape_ascii().to_string(),
                answer
            );
        }
        if shown.elapsed() > Duration::from_secs(10) {
            shown = Instant::now();
            world.is_well().await;
            let (left, memory) = (end.saturating_duration_since(shown).as_secs(), world.resident() >> 10);
            println!("mutated: {} inputs, {left} s left, {memory} KiB of memory", world.tried);
        }
    }
    world.is_well().await;
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..6) {
        0 => bytes.insert(at, rng.random()),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        3 => bytes.truncate(at),
        4 => {
            let end = rng.random_range(at..=bytes.len());
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let end = rng.random_range(at..=bytes.len());
            bytes.drain(at..end);
        }
    }
}
