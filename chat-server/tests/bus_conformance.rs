//! The bus of a single process and Pulsar keep the contract that every bus keeps.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod bus_suite;

mod local {
    use std::sync::Arc;

    use async_trait::async_trait;
    use chat_server::bus::{Bus, BusMessage, local::LocalBus};

    use crate::bus_suite::Fixture;

    struct Local {
        bus: Arc<dyn Bus>,
        capacity: usize,
    }

    #[async_trait]
    impl Fixture for Local {
        async fn open(capacity: usize) -> Self {
            Self { bus: Arc::new(LocalBus::with_capacity(capacity)), capacity }
        }

        fn here(&self) -> &Arc<dyn Bus> {
            &self.bus
        }

        fn there(&self) -> &Arc<dyn Bus> {
            &self.bus
        }

        async fn forget(&self, filler: BusMessage) {
            for _ in 0..self.capacity {
                self.bus.publish(filler.clone()).await.unwrap();
            }
        }
    }

    crate::bus_suite!(Local);
}
