//! How many gateways there should be, which of them go when there are too many, and in which steps. Everything here is pure: it takes
//! what was observed and the time. docs/autoscaling.md describes it for those who run it.

pub mod answers;
pub mod history;
pub mod machine;
pub mod policy;
pub mod reason;
pub mod victims;
