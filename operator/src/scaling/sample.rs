//! What a gateway reports about itself.

/// Hellos that wait in a gateway that is calm are fewer.
const CALM_HELLOS: u64 = 64;

/// What a gateway reports about itself. Counters start with its process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GatewaySample {
    /// Sockets that are open.
    pub connections: u64,
    /// Whether it sends them away.
    pub draining: bool,
    /// Sockets that it refused since it has as many as it takes. Others, such as those without a login, are not cured
    /// by more gateways.
    pub refused: u64,
    /// Hellos that wait for their answer.
    pub hellos_waiting: u64,
    /// Hellos that had to wait for a turn.
    pub hellos_throttled: u64,
    /// Memory that it uses, in bytes, where it is known.
    pub memory: Option<u64>,
    /// Memory that it may use, in bytes, where that is limited.
    pub memory_limit: Option<u64>,
}

impl GatewaySample {
    /// Whether more clients come back than it can take at once, by this sample and the one before.
    #[must_use]
    pub const fn is_pressed(&self, before: &Self) -> bool {
        self.hellos_waiting > CALM_HELLOS || self.hellos_throttled > before.hellos_throttled
    }

    /// Whether it refused sockets for want of capacity since the sample before.
    #[must_use]
    pub const fn refuses(&self, before: &Self) -> bool {
        self.refused > before.refused
    }

    /// How much of its memory it uses, in percent.
    #[must_use]
    pub fn memory_percent(&self) -> Option<u64> {
        let (used, limit) = (self.memory?, self.memory_limit.filter(|limit| *limit > 0)?);
        Some(used.saturating_mul(100) / limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_show_pressure_refusals_and_memory() {
        let sample = GatewaySample {
            connections: 900,
            draining: true,
            refused: 4,
            hellos_waiting: 2,
            hellos_throttled: 11,
            memory: Some(750),
            memory_limit: Some(1_000),
        };
        assert_eq!(sample.memory_percent(), Some(75));
        assert_eq!(GatewaySample { memory_limit: None, ..sample }.memory_percent(), None);
        assert!(!sample.is_pressed(&sample) && !sample.refuses(&sample));
        let later = GatewaySample { refused: 5, hellos_throttled: 12, ..sample };
        assert!(later.is_pressed(&sample) && later.refuses(&sample));
        let again = GatewaySample::default();
        assert!(!again.refuses(&sample), "it began anew");
        assert!(GatewaySample { hellos_waiting: 65, ..again }.is_pressed(&again));
    }
}
