//! Rotation as a simulation over time, and the file as chat-server reads it.

use std::collections::BTreeMap;

use super::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// What chat-server lets a token live at most.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// When all begins: a Sunday in 2026.
const START: i64 = 1_767_225_600_000;

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap()
}

fn start() -> Timestamp {
    at(START)
}

fn keys(data: &SecretData) -> Vec<Key> {
    read(data.get(FILE).unwrap()).unwrap()
}

/// What chat-server signs with.
fn signer(keys: &[Key], now: Timestamp) -> &Key {
    let signs = |key: &&Key| key.sign_from <= now && verifies(key, now);
    keys.iter().filter(signs).max_by(|a, b| a.order().cmp(&b.order())).expect("one signs")
}

fn verifies(key: &Key, now: Timestamp) -> bool {
    key.verify_until.is_none_or(|until| now <= until)
}

fn made(seed: u8, sign_from: Timestamp) -> Key {
    Key::new([seed; 32], start(), sign_from)
}

/// Runs reconciles `step` apart for `length`, and checks at each moment all that must hold. Returns how often keys changed hands.
fn simulate(
    rotate_after: SignedDuration,
    step: SignedDuration,
    length: SignedDuration,
    away: &[(i64, i64)],
) -> usize {
    let mut stored: Option<SecretData> = None;
    let mut published: BTreeMap<String, Timestamp> = BTreeMap::new();
    // When each key signed last.
    let mut signed: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut seeds = 0u8..;
    let mut now = start();
    while now < start() + length {
        let hour = now.duration_since(start()).as_hours();
        let is_away = away.iter().any(|&(from, until)| (from..until).contains(&hour));
        if !is_away
            && let SigningPlan::Replace { data, .. } =
                plan(stored.as_ref(), rotate_after, now, || [seeds.next().unwrap(); 32])
        {
            stored = Some(data);
        }
        let keys = keys(stored.as_ref().unwrap());
        for key in &keys {
            published.entry(key.kid.clone()).or_insert(now);
        }
        assert!(keys.len() <= 3, "{} keys at {now}", keys.len());
        let signs = signer(&keys, now);
        let known_for = now.duration_since(published[&signs.kid]);
        let is_first = published[&signs.kid] == start();
        assert!(is_first || known_for >= LEAD, "{} signs {known_for} after it was published", signs.kid);
        signed.insert(signs.kid.clone(), now);
        for (kid, last) in &signed {
            if *last + TOKEN_LIFE >= now {
                let verifies = keys.iter().any(|key| key.kid == *kid && verifies(key, now));
                assert!(verifies, "a token of {last} is refused at {now}");
            }
        }
        now += step;
    }
    signed.len()
}

#[test]
fn at_every_moment_one_key_signs_and_every_token_verifies() {
    let minutes = SignedDuration::from_mins;
    for (rotate_after, step, length, away, signers) in [
        (DAY * 30, minutes(7), DAY * 100, &[][..], 4),
        (DAY, minutes(1), DAY * 10, &[], 10),
        (DAY, minutes(11), DAY * 10, &[], 10),
        // An operator that is away when a rotation is due makes up for it, with the same overlap.
        (DAY, minutes(5), DAY * 6, &[(20, 50), (70, 73)], 5),
    ] {
        assert_eq!(simulate(rotate_after, step, length, away), signers, "every {rotate_after}");
    }
}

#[test]
fn what_happens_is_said() {
    let rotate = DAY * 30;
    let change = |found: Option<&[Key]>, now: Timestamp| {
        let found = found.map(write);
        match plan(found.as_ref(), rotate, now, || [9; 32]) {
            SigningPlan::Keep { until } => Err(until),
            SigningPlan::Replace { data, change } => {
                // What was just written stays, and once is enough.
                let again = plan(Some(&data), rotate, now, || panic!("no seed is needed"));
                assert!(matches!(again, SigningPlan::Keep { until } if until > now), "{again:?}");
                Ok((change, keys(&data).len()))
            }
        }
    };
    let first = made(1, start());
    let retired = Key { verify_until: Some(start() + DAY * 30 + GRACE), ..first.clone() };
    let second = made(2, start() + DAY * 30);
    let odd = made(3, start() + DAY * 400);
    let publish = start() + DAY * 30 - LEAD;
    for (found, now, expected) in [
        (None, start(), Ok((SigningChange::Made, 1))),
        (Some(vec![]), start(), Ok((SigningChange::Remade, 1))),
        (Some(vec![first.clone()]), start() + DAY, Err(publish)),
        (Some(vec![first.clone()]), publish - HOUR, Err(publish)),
        (Some(vec![first.clone()]), publish, Ok((SigningChange::Published, 2))),
        (Some(vec![first.clone()]), publish + DAY * 300, Ok((SigningChange::Published, 2))),
        (Some(vec![retired.clone(), second.clone()]), publish, Err(start() + DAY * 30)),
        (Some(vec![retired.clone(), second.clone()]), start() + DAY * 31, Err(start() + DAY * 30 + GRACE)),
        (Some(vec![retired.clone(), second.clone()]), start() + DAY * 32, Ok((SigningChange::Tidied, 1))),
        // Somebody took the time away, or put one where none belongs.
        (Some(vec![first.clone(), second.clone()]), start() + DAY * 31, Ok((SigningChange::Tidied, 2))),
        (Some(vec![retired]), start() + DAY, Ok((SigningChange::Tidied, 1))),
        // A clock was wrong by a year.
        (Some(vec![first, odd.clone()]), start() + DAY, Ok((SigningChange::Tidied, 1))),
        (Some(vec![odd]), start(), Ok((SigningChange::Remade, 1))),
        (Some(vec![second]), start() + DAY * 29 + HOUR, Ok((SigningChange::Remade, 1))),
    ] {
        let text = format!("{} keys at {now}", found.as_ref().map_or(0, Vec::len));
        assert_eq!(change(found.as_deref(), now), expected, "{text}");
    }
}

#[test]
fn files_that_chat_server_would_refuse_are_replaced() {
    let good = String::from_utf8(write(&[made(1, start())]).get(FILE).unwrap().to_vec()).unwrap();
    let twice = write(&[made(1, start()), made(1, start())]);
    for (file, is_usable) in [
        (good.as_str(), true),
        (&good.replace("\"kid\"", "\"later\":\"skipped\",\"kid\""), true),
        (&good.replace("AQEB", "AQEC"), false),
        (&good.replace("AQEB", "AQ"), false),
        (&good.replace("sign_from", "signs_from"), false),
        (std::str::from_utf8(twice.get(FILE).unwrap()).unwrap(), false),
        ("{}", false),
        ("", false),
    ] {
        let found = SecretData::from_iter([(FILE, file)]);
        let planned = plan(Some(&found), DAY * 30, start(), || [9; 32]);
        let kept = matches!(planned, SigningPlan::Keep { .. });
        assert_eq!(kept, is_usable, "{file}");
    }
    let elsewhere = SecretData::from_iter([("other.json", good.as_str())]);
    let planned = plan(Some(&elsewhere), DAY * 30, start(), || [9; 32]);
    assert!(matches!(planned, SigningPlan::Replace { change: SigningChange::Remade, .. }));
}

/// The form that chat-server's `auth.signing_keys_file` has. When this fails, servers that run no longer read what we write.
#[test]
fn the_file_is_as_it_always_was() {
    let golden = include_str!("golden/keys.json");
    let first = Key { verify_until: Some(at(START) + GRACE), ..made(1, start() - DAY) };
    let written = write(&[first, made(2, start())]);
    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    assert_eq!(value(written.get(FILE).unwrap()), value(golden.as_bytes()));
    assert!(keys(&written) == read(golden.as_bytes()).unwrap(), "it is read as it was written");
}

#[test]
fn no_plan_prints_a_seed() {
    let planned = plan(None, DAY, start(), || [1; 32]);
    let text = format!("{planned:?} {planned:#?}");
    let SigningPlan::Replace { data, .. } = planned else { panic!("keys are made") };
    let seed = URL_SAFE_NO_PAD.encode([1; 32]);
    assert!(data.text(FILE).unwrap().contains(&seed));
    assert!(!text.contains(&seed) && !text.contains("1, 1"), "{text}");
}
