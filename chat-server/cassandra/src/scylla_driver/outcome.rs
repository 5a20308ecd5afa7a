//! What an error says about whether a statement was executed, on which everything rests that is written conditionally.

use scylla::{
    errors::{DbError, ExecutionError, PrepareError, RequestAttemptError},
    policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession},
    statement::Consistency,
};

use crate::cql::{Access, CqlError};

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Refused for its load before anything was done.
    Overloaded,
    /// Not executed: not sent, or too few replicas to begin.
    NotBegun,
    /// Anything may have happened.
    Unknown,
    /// Refused for what it says. Another node would say the same.
    Invalid,
}

fn outcome(error: &RequestAttemptError, conditional: bool) -> Outcome {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => Outcome::Invalid,
        RequestAttemptError::UnableToAllocStreamId => Outcome::Overloaded,
        RequestAttemptError::DbError(error, reason) => match error {
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::AuthenticationError
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::Unprepared { .. }
            | DbError::ProtocolError => Outcome::Invalid,
            // A conditional write that was accepted can still find too few replicas for its commit, which it says by the
            // commit's consistency (Cassandra's `StorageProxy.commitPaxos`). Before that, it is the serial one.
            DbError::Unavailable { consistency, .. }
                if !conditional || matches!(consistency, Consistency::LocalSerial | Consistency::Serial) =>
            {
                Outcome::NotBegun
            }
            DbError::IsBootstrapping => Outcome::NotBegun,
            // The same goes for too many hints (`StorageProxy.checkHintOverload`); other overload is found on arrival.
            DbError::Overloaded if !conditional || !reason.starts_with("Too many in flight hints") => {
                Outcome::Overloaded
            }
            DbError::RateLimitReached { .. } => Outcome::Overloaded,
            _ => Outcome::Unknown,
        },
        _ => Outcome::Unknown,
    }
}

/// What the port says of an error.
pub(super) fn of(error: ExecutionError, access: Access) -> CqlError {
    match &error {
        ExecutionError::BadQuery(_) | ExecutionError::UseKeyspaceError(_) => CqlError::Invalid(error.into()),
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => {
            CqlError::Unavailable(error.into())
        }
        ExecutionError::LastAttemptError(attempt) => match outcome(attempt, access == Access::Conditional) {
            Outcome::Overloaded => CqlError::Overloaded(error.into()),
            Outcome::NotBegun => CqlError::Unavailable(error.into()),
            Outcome::Unknown => CqlError::Timeout(error.into()),
            Outcome::Invalid => CqlError::Invalid(error.into()),
        },
        _ => CqlError::Timeout(error.into()),
    }
}

/// The same for preparing a statement, which executes nothing.
pub(super) fn of_preparing(error: PrepareError) -> CqlError {
    match &error {
        PrepareError::AllAttemptsFailed { first_attempt }
            if outcome(first_attempt, false) == Outcome::Invalid =>
        {
            CqlError::Invalid(error.into())
        }
        _ => CqlError::Unavailable(error.into()),
    }
}

/// Tries other nodes: always when an attempt certainly was not executed, else only when repeating does no harm.
#[derive(Debug)]
pub(super) struct Again;

struct Tries(u8);

/// With three copies there are three nodes worth asking.
const MOST_REPETITIONS: u8 = 2;

impl RetryPolicy for Again {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Tries(0))
    }
}

impl RetrySession for Tries {
    fn decide_should_retry(&mut self, attempt: RequestInfo<'_>) -> RetryDecision {
        if self.0 >= MOST_REPETITIONS {
            return RetryDecision::DontRetry;
        }
        self.0 += 1;
        match outcome(attempt.error, !attempt.is_idempotent) {
            Outcome::NotBegun | Outcome::Overloaded => RetryDecision::RetryNextTarget(None),
            Outcome::Unknown if attempt.is_idempotent => RetryDecision::RetryNextTarget(None),
            Outcome::Unknown | Outcome::Invalid => RetryDecision::DontRetry,
        }
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use scylla::errors::WriteType;

    use super::*;

    fn cql_error(error: DbError, access: Access) -> CqlError {
        let attempt = RequestAttemptError::DbError(error, "because".into());
        of(ExecutionError::LastAttemptError(attempt), access)
    }

    fn unavailable(consistency: Consistency) -> DbError {
        DbError::Unavailable { consistency, required: 2, alive: 1 }
    }

    #[test]
    fn what_may_have_been_executed_is_never_called_undone() {
        let late = |write_type| DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type,
        };
        for error in [
            late(WriteType::Cas),
            late(WriteType::Simple),
            DbError::ServerError,
            unavailable(Consistency::LocalQuorum),
            DbError::Other(0x1700),
        ] {
            assert!(matches!(cql_error(error, Access::Conditional), CqlError::Timeout(_)));
        }
    }

    #[test]
    fn what_was_not_executed_is_said_to_be_undone() {
        for error in [unavailable(Consistency::LocalSerial), DbError::IsBootstrapping] {
            assert!(matches!(cql_error(error, Access::Conditional), CqlError::Unavailable(_)));
        }
        let plain = cql_error(unavailable(Consistency::LocalQuorum), Access::Read);
        assert!(matches!(plain, CqlError::Unavailable(_)));
        assert!(matches!(cql_error(DbError::Overloaded, Access::Conditional), CqlError::Overloaded(_)));
        assert!(matches!(cql_error(DbError::Invalid, Access::Conditional), CqlError::Invalid(_)));
        assert!(matches!(of(ExecutionError::EmptyPlan, Access::Conditional), CqlError::Unavailable(_)));
    }
}
