use super::*;

/// `a 900 z1/n1 r1`, with `!` for not ready, `~` for draining, `?` for one that did not report.
fn pods(lines: &str) -> Vec<Candidate> {
    let pod = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (zone, node) = fields[2].split_once('/').unwrap();
        Candidate {
            name: fields[0].trim_matches(['!', '~']).into(),
            ready: !fields[0].contains(['!', '~']),
            draining: fields[0].contains('~'),
            revision: fields[3].trim_start_matches('r').parse().unwrap(),
            connections: fields[1].parse().ok(),
            node: (node != "-").then(|| node.into()),
            zone: (zone != "-").then(|| zone.into()),
        }
    };
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect()
}

/// In which order they go.
fn check(lines: &str, expected: &str) {
    let mut pods = pods(lines);
    for _ in 0..pods.len() {
        pods.rotate_left(1);
        let order = choose(&pods, pods.len(), 1_000);
        assert_eq!(order.join(" "), expected, "{lines}");
        for count in 0..pods.len() {
            assert_eq!(choose(&pods, count, 1_000), order[..count], "fewer are the first of all");
        }
    }
    assert_eq!(choose(&pods, 100, 1_000).len(), pods.len());
}

#[test]
fn the_order() {
    check("", "");
    // Those that take nobody, whatever else they are.
    check(
        "full 900 z/a r1
         !waits ? -/- r2
         ~drains 300 z/b r2
         empty 0 z/c r1",
        "drains waits empty full",
    );
    // The oldest revision before the emptiest.
    check(
        "new 0 z/a r3
         old 900 z/b r1
         mid 500 z/c r2",
        "old mid new",
    );
    // The emptiest; one without a report is taken for full.
    check(
        "c 700 z/a r1
         a 0 z/b r1
         silent ? z/c r1
         b 150 z/d r1",
        "a b c silent",
    );
    // Of those that hold about as much, from the zone and then the node that keeps the most.
    check(
        "a 410 east/1 r1
         b 450 west/2 r1
         c 440 west/2 r1
         d 490 west/3 r1",
        "c b a d",
    );
}

#[test]
fn zones_stay_even() {
    let lines: Vec<String> =
        (0..30).map(|pod| format!("p{pod:02} 500 z{}/n{} r1", pod % 3, pod % 15)).collect();
    let pods = pods(&lines.join("\n"));
    let gone = choose(&pods, 20, 1_000);
    for zone in ["z0", "z1", "z2"] {
        let stay = pods.iter().filter(|pod| !gone.contains(&pod.name) && pod.zone.as_deref() == Some(zone));
        let stay = stay.count();
        assert!((3..=4).contains(&stay), "{zone} keeps {stay}");
    }
}
