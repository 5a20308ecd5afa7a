//! How many gateways there should be, which of them go when there are too many, and in which steps. Everything here is pure: it takes
//! what was observed and the time. docs/autoscaling.md describes it for those who run it.
//!
//! Each round of answers goes through [`memory`] ([`sample`], [`answers`]) to [`policy`], which has its [`history`]
//! and gives its [`reason`]; [`decide`] makes of that what is to be done, with the steps of a scale-down
//! ([`machine`]) and its [`victims`]. `sampler` asks gateways, and `controller` acts.

pub mod answers;
pub mod decide;
pub mod history;
pub mod machine;
pub mod memory;
pub mod policy;
pub mod reason;
pub mod sample;
pub mod victims;
