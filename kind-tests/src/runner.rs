//! Runs tests beside each other, reports how each went, and keeps what a failed one left.

use std::{env, fs, panic::AssertUnwindSafe, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, anyhow};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use tokio::sync::Semaphore;

use crate::{
    command,
    scene::{READY, Scene},
    settings::{SWITCH, Settings},
};

/// When a test may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all others: it measures how long something takes.
    First,
    /// Beside others, as many at once as the machine bears.
    Beside,
    /// Beside all of those: it needs no processor, it waits.
    Waiting,
    /// After all of those, alone: it handles what all share.
    Alone,
}

/// A named test.
pub struct Test {
    /// Its name, with `kt-` in front also that of its namespace.
    pub name: &'static str,
    /// When it may run.
    pub place: Place,
    /// What it does.
    pub run: fn(Scene) -> BoxFuture<'static, Result<()>>,
}

impl Test {
    fn namespace(&self) -> String {
        format!("kt-{}", self.name)
    }
}

/// Runs those of `tests` whose name contains one of the program's arguments, or all. `--list` prints their names,
/// `--namespaces` the namespaces that they need.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    for argument in &arguments {
        match argument.as_str() {
            "--list" => tests.iter().for_each(|test| println!("{}", test.name)),
            "--namespaces" => tests.iter().for_each(|test| println!("{}", test.namespace())),
            _ => continue,
        }
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::from_environment() {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            println!("{SWITCH} is not set: these tests need a cluster, which scripts/kind-tests.sh makes");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    // The clients ask for the process's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chosen: Vec<_> = tests
        .iter()
        .filter(|test| arguments.is_empty() || arguments.iter().any(|part| test.name.contains(part.as_str())))
        .collect();
    if chosen.is_empty() {
        eprintln!("error: no test has such a name; --list shows all names");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run_all(&chosen, settings))) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("\nfailed: {}", failed.join(" "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The names of those that failed.
async fn run_all(tests: &[&Test], settings: Settings) -> Result<Vec<&'static str>> {
    let client = Client::try_default().await.context("expected a cluster by KUBECONFIG")?;
    let places = Arc::new(Semaphore::new(settings.concurrency.max(1)));
    let settings = Arc::new(settings);
    let scene = |test: &Test| Scene {
        client: client.clone(),
        settings: Arc::clone(&settings),
        namespace: test.namespace(),
    };
    let mut failed = vec![];
    for test in tests.iter().filter(|test| test.place == Place::First) {
        let (name, well) = run(test, scene(test), None).await;
        failed.extend((!well).then_some(name));
    }
    let mut beside: FuturesUnordered<_> = tests
        .iter()
        .filter(|test| matches!(test.place, Place::Beside | Place::Waiting))
        .map(|test| {
            let places = (test.place == Place::Beside).then(|| Arc::clone(&places));
            run(test, scene(test), places)
        })
        .collect();
    while let Some((name, well)) = beside.next().await {
        failed.extend((!well).then_some(name));
    }
    for test in tests.iter().filter(|test| test.place == Place::Alone) {
        let (name, well) = run(test, scene(test), None).await;
        failed.extend((!well).then_some(name));
    }
    Ok(failed)
}

async fn run(test: &Test, scene: Scene, places: Option<Arc<Semaphore>>) -> (&'static str, bool) {
    let _place = match places {
        Some(places) => places.acquire_owned().await.ok(),
        None => None,
    };
    let began = Instant::now();
    let outcome = AssertUnwindSafe((test.run)(scene.clone()))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(anyhow!("it panicked, as shown above")));
    let took = began.elapsed().as_secs_f64();
    let well = match outcome {
        Ok(()) => {
            println!("test {} ... ok, {took:.1} s", test.name);
            true
        }
        Err(error) => {
            keep(&scene, test.name).await;
            println!("test {} ... FAILED, {took:.1} s\n    {error:#}", test.name);
            false
        }
    };
    // Its pods are in the way of those that follow.
    if let Err(error) = scene.delete_chat(READY).await {
        println!("test {}: its ChatCluster does not go: {error:#}", test.name);
        return (test.name, false);
    }
    (test.name, well)
}

/// What is in the namespace of a failed test, and what its pods said.
pub(crate) async fn keep(scene: &Scene, name: &str) {
    let folder = scene.settings.logs.join(name);
    let namespace = scene.namespace.as_str();
    let everything =
        "chatclusters,deployments,jobs,pods,services,endpointslices,configmaps,networkpolicies,events";
    let questions: [(&str, &[&str]); 4] = [
        ("objects.yaml", &["get", everything, "-o", "yaml"]),
        ("describe.txt", &["describe", "chatclusters,pods"]),
        (
            "pods.log",
            &["logs", "-l", "app.kubernetes.io/name=folkmoot", "--all-containers", "--prefix", "--tail=-1"],
        ),
        ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
    ];
    if let Err(error) = fs::create_dir_all(&folder) {
        println!("{} cannot be made: {error}", folder.display());
    }
    for (file, question) in questions {
        let arguments = [&["-n", namespace], question].concat();
        let reported = match command::kubectl(&arguments, "").await {
            Ok(output) => output.out + &output.err,
            Err(error) => format!("{error:#}"),
        };
        let _ = fs::write(folder.join(file), reported);
    }
}
