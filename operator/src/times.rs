//! Times of the API server, which have no fractions.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A time as the API server writes it.
#[must_use]
pub fn to_api(time: Timestamp) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(time.as_second()).unwrap_or_default())
}

/// A time that the API server wrote.
#[must_use]
pub fn of_api(time: &Time) -> Timestamp {
    Timestamp::from_second(time.0.as_second()).unwrap_or_default()
}

/// A time without fractions of a second, for people.
#[must_use]
pub fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
