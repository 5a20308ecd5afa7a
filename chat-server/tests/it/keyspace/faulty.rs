//! A port that fails the way networks and nodes do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_cassandra::cql::{Access, Cql, CqlError, Page, PageState, Row, Statement, Value};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is lost on its way, and there is no answer.
    Lost,
    /// It is done, and its answer is lost.
    Unanswered,
    /// There is no answer, and it is done a little later, when nobody expects it any more.
    Late,
    /// It is refused, and not done.
    Unavailable,
}

/// Which requests faults may happen to; batches are among all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hits {
    /// All reads and writes.
    Everything,
    /// All but reads.
    Writes,
    /// Conditional writes only.
    Conditional,
}

/// Puts faults in front of a session.
pub(crate) struct FaultyCql {
    inner: Arc<dyn Cql>,
    /// What happens to the first request, the second and so on, in a circle.
    script: Vec<Option<Fault>>,
    hits: Hits,
    next: AtomicUsize,
    late: Mutex<Vec<JoinHandle<()>>>,
}

enum Request {
    Execute(Statement, Vec<Value>),
    Batch(Vec<(Statement, Vec<Value>)>),
}

impl FaultyCql {
    pub(crate) fn new(inner: Arc<dyn Cql>, script: Vec<Option<Fault>>, hits: Hits) -> Self {
        Self { inner, script, hits, next: AtomicUsize::new(0), late: Mutex::default() }
    }

    /// Waits until all that was late has arrived.
    pub(crate) async fn arrive(&self) {
        let late = std::mem::take(&mut *self.late.lock());
        for task in late {
            task.await.unwrap();
        }
    }

    /// Goes on with this place of the script.
    pub(crate) fn go_to(&self, place: usize) {
        self.next.store(place, Ordering::Relaxed);
    }

    fn fault(&self, access: Access) -> Option<Fault> {
        let hit = match self.hits {
            Hits::Everything => true,
            Hits::Writes => !matches!(access, Access::Read | Access::SerialRead),
            Hits::Conditional => access == Access::Conditional,
        };
        if self.script.is_empty() || !hit {
            return None;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.script[next % self.script.len()]
    }

    async fn run(&self, request: Request) -> Result<Vec<Row>, CqlError> {
        run(&*self.inner, request).await
    }

    async fn with_fault(&self, access: Access, request: Request) -> Result<Vec<Row>, CqlError> {
        let source = || "a fault that was put in".into();
        match self.fault(access) {
            None => self.run(request).await,
            Some(Fault::Unavailable) => Err(CqlError::Unavailable(source())),
            Some(Fault::Lost) => Err(CqlError::Timeout(source())),
            Some(Fault::Unanswered) => {
                self.run(request).await?;
                Err(CqlError::Timeout(source()))
            }
            Some(Fault::Late) => {
                let inner = Arc::clone(&self.inner);
                self.late.lock().push(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(7)).await;
                    // Nobody is there to get the answer.
                    run(&*inner, request).await.ok();
                }));
                Err(CqlError::Timeout(source()))
            }
        }
    }
}

async fn run(cql: &dyn Cql, request: Request) -> Result<Vec<Row>, CqlError> {
    match request {
        Request::Execute(statement, values) => cql.execute(statement, values).await,
        Request::Batch(statements) => cql.batch(statements).await,
    }
}

#[async_trait]
impl Cql for FaultyCql {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        self.inner.schema(cql).await
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.inner.prepare(statement).await
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        self.with_fault(statement.access, Request::Execute(statement, values)).await
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        self.with_fault(Access::Conditional, Request::Batch(statements)).await
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        self.inner.page(statement, values, size, from).await
    }
}
