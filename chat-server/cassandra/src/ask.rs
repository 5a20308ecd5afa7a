//! Ways of asking that the directory and the credentials share.

use std::time::Duration;

use chat_domain::store::StoreError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    CassandraStore,
    codec::{undone, unsure},
    cql::{CqlError, Row, Statement, Value},
};

/// Rows that one caller reads or writes at the same time.
const AT_ONCE: usize = 32;
/// Conditional writes of the same rows get in each other's way, then one of them has to come again.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Rows of a page when all of them are wanted.
const PAGE: usize = 1_000;

/// What a conditional write came to.
pub(super) enum Decided {
    /// The rows are as they were asked to be.
    Applied,
    /// They are not; what was found instead, `None` when nothing was.
    Refused(Option<Row>),
}

impl CassandraStore {
    /// Rows that are known to be few.
    pub(super) async fn rows(&self, read: Statement, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.cql.execute(read, values).await.map_err(undone)
    }

    /// The first row, if there is one.
    pub(super) async fn row(&self, read: Statement, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(read, values).await?.into_iter().next())
    }

    /// All rows of an answer, page by page.
    pub(super) async fn all(&self, read: Statement, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.cql.page(read, values.clone(), PAGE, from).await.map_err(undone)?;
            rows.extend(page.rows);
            from = page.next;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    /// What is made of a row for each of `keys`, in their order; those without a row are left out.
    pub(super) async fn each<T>(
        &self,
        read: Statement,
        keys: Vec<Value>,
        parse: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send,
    {
        let rows: Vec<Option<Row>> =
            stream::iter(keys).map(|key| self.row(read, vec![key])).buffered(AT_ONCE).try_collect().await?;
        rows.iter().flatten().map(parse).collect()
    }

    /// A plain write.
    pub(super) async fn write(&self, write: Statement, values: Vec<Value>) -> Result<(), StoreError> {
        self.cql.execute(write, values).await.map(drop).map_err(unsure)
    }

    /// Plain writes in no order.
    pub(super) async fn writes(&self, writes: Vec<(Statement, Vec<Value>)>) -> Result<(), StoreError> {
        stream::iter(writes)
            .map(|(write, values)| self.write(write, values))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// A conditional write whose unknown outcomes are settled by doing it again: when it is then refused, `ours` says
    /// whether what is found is what an earlier try left there.
    pub(super) async fn decide(
        &self,
        write: Statement,
        values: Vec<Value>,
        ours: impl Fn(&Row) -> bool + Send,
    ) -> Result<Decided, StoreError> {
        let mut unknown = false;
        let mut pause = FIRST_PAUSE;
        for last in (0..TRIES).map(|n| n + 1 == TRIES) {
            match self.cql.execute(write, values.clone()).await {
                Ok(rows) => {
                    let found = rows.into_iter().next();
                    let applied = found.as_ref().is_some_and(|row| row.applied() || unknown && ours(row));
                    return Ok(if applied { Decided::Applied } else { Decided::Refused(found) });
                }
                Err(CqlError::Timeout(_)) if !last => unknown = true,
                Err(CqlError::Overloaded(_)) if unknown && !last => {}
                Err(error) if unknown => return Err(StoreError::UnknownOutcome(Some(error.into()))),
                Err(error) => return Err(unsure(error)),
            }
            // Not in step with the others who were in the way.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}
