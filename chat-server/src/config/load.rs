//! Reads all sources of a configuration.

use std::path::Path;

use super::{Assignment, Config, Problem, Resolved, from_environment, from_file, resolve};

/// Puts file, environment and flags over `base`.
///
/// # Errors
/// Everything that is wrong.
pub fn load(
    base: Config,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Vec<Assignment>,
) -> Result<Resolved, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut given = Vec::new();
    if let Some(path) = file {
        match std::fs::read_to_string(path) {
            Ok(text) => given.extend(from_file(path, &text, &mut problems)),
            Err(error) => {
                problems.push(Problem::new(None, format!("{} cannot be read: {error}", path.display())));
            }
        }
    }
    given.extend(from_environment(environment, &mut problems));
    given.extend(flags);
    resolve(base, given, problems)
}
