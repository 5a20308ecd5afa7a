//! The bus of a single process and Pulsar keep the contract that every bus keeps.

mod local {
    use std::sync::Arc;

    use async_trait::async_trait;
    use chat_domain::bus::{Bus, BusMessage, local::LocalBus};

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

mod pulsar {
    use std::sync::Arc;

    use async_trait::async_trait;
    use chat_domain::bus::{Bus, BusMessage};
    use chat_protocol::ChannelId;
    use chat_pulsar::config::PulsarConfig;
    use chat_pulsar::{ProvisionOptions, PulsarBus, PulsarOptions, provision};
    use reqwest::Method;

    use crate::{
        bus_suite::{Fixture, event, until},
        harness::engines,
    };

    /// Two processes on a namespace of their own.
    struct Pulsar {
        config: PulsarConfig,
        here: Arc<dyn Bus>,
        there: Arc<dyn Bus>,
    }

    async fn connect(config: &PulsarConfig, capacity: usize) -> Arc<dyn Bus> {
        let options = PulsarOptions { capacity, ..PulsarOptions::of(config) };
        Arc::new(PulsarBus::connect(options).await.unwrap())
    }

    #[async_trait]
    impl Fixture for Pulsar {
        async fn open(capacity: usize) -> Self {
            let config = PulsarConfig { partitions: 3, ..engines::pulsar().await };
            provision(&ProvisionOptions::of(&config)).await.unwrap();
            // With items that say how far a partition was read, a queue is used up twice as fast.
            let (here, there) = (connect(&config, capacity * 2).await, connect(&config, capacity * 2).await);
            // Something in every partition: whoever has seen nothing at all of one cannot know whether it lacks something.
            // One at a time, since the queue may be a very short one.
            let mut subscription = there.subscribe();
            for _ in 0..50 {
                let channel = ChannelId::new();
                here.publish(event(channel, 1)).await.unwrap();
                until(subscription.as_mut(), &[channel], 1).await;
            }
            Self { config, here, there }
        }

        fn here(&self) -> &Arc<dyn Bus> {
            &self.here
        }

        fn there(&self) -> &Arc<dyn Bus> {
            &self.there
        }

        /// A broker forgets whole ledgers only: another one is begun, and those before are given up.
        async fn forget(&self, filler: BusMessage) {
            self.here.flush().await;
            self.there.flush().await;
            let namespace = format!("{}/{}", self.config.tenant, self.config.namespace);
            let quota = format!("/namespaces/{namespace}/backlogQuota");
            let removed = engines::admin(&self.config, Method::DELETE, &quota, "").await;
            assert!(removed.status().is_success(), "{}", removed.status());
            let retention = r#"{"retentionTimeInMinutes":0,"retentionSizeInMB":0}"#;
            let path = format!("/namespaces/{namespace}/retention");
            let set = engines::admin(&self.config, Method::POST, &path, retention).await;
            assert!(set.status().is_success(), "{}", set.status());
            let topic = format!("/persistent/{namespace}/events");
            for act in ["unload", "trim"] {
                let method = if act == "unload" { Method::PUT } else { Method::POST };
                for partition in 0..self.config.partitions {
                    let path = format!("{topic}-partition-{partition}/{act}");
                    let done = engines::admin(&self.config, method.clone(), &path, "").await;
                    assert!(done.status().is_success(), "{path}: {}", done.status());
                }
                self.here.publish(filler.clone()).await.unwrap();
                self.here.flush().await;
            }
        }
    }

    crate::bus_suite!(Pulsar);

    /// Doing it again changes nothing, and partitions never become fewer.
    #[tokio::test]
    async fn what_is_provisioned_stays_and_grows() {
        let config = engines::pulsar().await;
        let options = |partitions| ProvisionOptions { partitions, ..ProvisionOptions::of(&config) };
        let path = format!("/persistent/{}/{}/events/partitions", config.tenant, config.namespace);
        for (wanted, there_are) in [(2, 2), (2, 2), (4, 4), (2, 4)] {
            provision(&options(wanted)).await.unwrap();
            let answer = engines::admin(&config, Method::GET, &path, "").await;
            let metadata: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(metadata["partitions"], there_are);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_refused_at_once() {
        for url in ["localhost:6650", "http://localhost:6650", "pulsar://"] {
            let options = PulsarOptions { url: url.into(), ..PulsarOptions::default() };
            assert!(PulsarBus::connect(options).await.is_err(), "{url}");
        }
        let options = PulsarOptions { token_file: "/nowhere/token".into(), ..PulsarOptions::default() };
        let error = PulsarBus::connect(options).await.err().unwrap();
        assert_eq!(error.to_string(), "failed to read /nowhere/token");
    }
}
