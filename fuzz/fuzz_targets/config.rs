//! Configuration: a file, then after a NUL the environment, a variable a line. What is accepted is written as TOML that
//! means the same, and what is refused says why.
#![no_main]

use std::path::Path;

use chat_server::config::{Config, from_environment, from_file, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));

    let mut problems = Vec::new();
    let mut given = from_file(Path::new("folkmoot.toml"), file, &mut problems);
    given.extend(from_environment(variables, &mut problems));
    match resolve(Config::default(), given, problems) {
        Ok(resolved) => {
            let toml = resolved.to_toml();
            let mut problems = Vec::new();
            let given = from_file(Path::new("again.toml"), &toml, &mut problems);
            let again = resolve(Config::default(), given, problems);
            let again =
                again.unwrap_or_else(|problems| panic!("refused what was written: {problems:?}\n{toml}"));
            assert_eq!(again.config, resolved.config, "changed by writing it as\n{toml}");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
        }
    }
});
