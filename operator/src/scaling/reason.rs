//! Why there should be as many gateways as there should be, as a person reads it.

use std::fmt;

/// Why the policy decided what it decided. `Display` is a sentence for conditions and events, [`Why::code`] an
/// identifier for programs.
///
/// The sentences of what is held name no number that changes with every sample: they go into a status, and a status that stays the
/// same is not written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There are as many as the connections and the buffer need.
    Enough,
    /// More connections than the gateways should hold, with the buffer.
    Connections {
        /// Those there are, or at least are where some gateways did not report theirs.
        connections: u64,
        /// Gateways that they and the buffer need.
        needed: u32,
    },
    /// Gateways refuse sockets or are short of memory.
    Pressure {
        /// How many of them.
        gateways: u32,
    },
    /// Gateways that were there do not come back by themselves, and what they held is on the others.
    Lost {
        /// How many are lost.
        gateways: u32,
    },
    /// There are fewer than `minReplicas`.
    Minimum,
    /// `maxReplicas`, and there are more.
    Maximum,
    /// The connections need more than `maxReplicas`.
    AtMaximum,
    /// More are needed, but as many as `maxScaleUpPerMinute` were added within the last minute.
    RateLimited {
        /// Gateways that are needed.
        needed: u32,
    },
    /// The highest load of the stabilisation window needs fewer.
    FewerConnections {
        /// The highest number of connections in the window.
        highest: u64,
        /// Gateways that those and the buffer need.
        needed: u32,
    },
    /// Fewer would do now, but more were needed within the stabilisation window.
    Window {
        /// What was needed.
        needed: u32,
    },
    /// Fewer would do now, but so few that the next swing of the load would need them again.
    Margin,
    /// Fewer would do, but some gateways did not report how many connections they hold.
    Unknown {
        /// How many did not.
        silent: u32,
        /// Number of all that were asked.
        of: u32,
    },
    /// No gateway is ready, so nothing is known.
    NoneReady,
    /// Fewer would do, and some are on their way out already.
    Leaving {
        /// How many are leaving.
        gateways: u32,
    },
}

impl Why {
    /// A reason of an event or a condition, and the label of a metric.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Enough => "Enough",
            Self::Connections { .. } => "MoreConnections",
            Self::Pressure { .. } => "GatewaysUnderPressure",
            Self::Lost { .. } => "GatewaysLost",
            Self::Minimum => "MinReplicas",
            Self::Maximum => "MaxReplicas",
            Self::AtMaximum => "AtMaxReplicas",
            Self::RateLimited { .. } => "RateLimited",
            Self::FewerConnections { .. } => "FewerConnections",
            Self::Window { .. } => "Stabilizing",
            Self::Margin => "WithinMargin",
            Self::Unknown { .. } => "SamplesMissing",
            Self::NoneReady => "NoGatewayReady",
            Self::Leaving { .. } => "GatewaysLeaving",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough => write!(f, "as many as the connections and the buffer need"),
            Self::Connections { connections, needed } => {
                write!(f, "{connections} connections and the buffer need {needed}")
            }
            Self::Pressure { gateways } => write!(f, "{gateways} refuse sockets or are short of memory"),
            Self::Lost { gateways } => write!(f, "{gateways} that were there are not ready any more"),
            Self::Minimum => write!(f, "minReplicas asks for more"),
            Self::Maximum => write!(f, "maxReplicas allows no more"),
            Self::AtMaximum => write!(f, "more are needed than maxReplicas allows"),
            Self::RateLimited { needed } => {
                write!(f, "{needed} are needed, and maxScaleUpPerMinute delays the rest")
            }
            Self::FewerConnections { highest, needed } => {
                write!(f, "at most {highest} connections lately, which need {needed} with the buffer")
            }
            Self::Window { needed } => {
                write!(f, "fewer would do now, but {needed} were needed within stabilizationSeconds")
            }
            Self::Margin => {
                write!(f, "fewer would do now, but the next swing of the load would need them again")
            }
            Self::Unknown { silent, of } => {
                write!(f, "{silent} of {of} do not say how many connections they hold, so none is taken away")
            }
            Self::NoneReady => write!(f, "none is ready, so it is not known how many connections there are"),
            Self::Leaving { gateways } => write!(f, "{gateways} are on their way out"),
        }
    }
}
