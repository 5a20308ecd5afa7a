//! The commands of a document, so that a test can do what a reader does.
//!
//! Every block marked `sh` is run, one after the other in one shell, unless the line before it is a comment that says why not:
//!
//! ```text
//! <!-- not run by the test: REASON -->
//! ```

use anyhow::{Result, bail, ensure};

/// What such a comment begins with.
const MARK: &str = "<!-- not run by the test:";

/// Commands of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where they begin, counted from 1.
    pub line: usize,
    /// The commands themselves, as they stand in the document.
    pub commands: String,
    /// Why they are not run.
    pub skipped: Option<String>,
}

/// All of a document, in order.
///
/// # Errors
/// When a block does not end, is of a shell but not marked `sh`, or a comment gives no reason or stands before no block.
pub fn blocks(markdown: &str) -> Result<Vec<Block>> {
    let mut found = vec![];
    let mut mark: Option<(usize, String)> = None;
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            let mut commands = String::new();
            loop {
                let Some((_, line)) = lines.next() else {
                    bail!("the block of line {} does not end", number + 1)
                };
                if line.trim() == "```" {
                    break;
                }
                commands += line;
                commands.push('\n');
            }
            match language {
                "sh" => {
                    let skipped = mark.take().map(|(_, reason)| reason);
                    found.push(Block { line: number + 2, commands, skipped });
                }
                "bash" | "shell" | "console" => {
                    bail!("expected line {} to say sh, got {language}", number + 1)
                }
                _ => {}
            }
        } else if let Some(reason) = line.strip_prefix(MARK) {
            let reason = reason.trim().strip_suffix("-->").unwrap_or_default().trim();
            ensure!(!reason.is_empty(), "expected a reason and --> in line {}", number + 1);
            mark = Some((number + 1, reason.to_owned()));
        } else if line.is_empty() {
            continue;
        }
        if let Some((number, _)) = mark.as_ref().filter(|(of, _)| *of != number + 1) {
            bail!("expected a block of sh after the comment of line {number}");
        }
    }
    if let Some((number, _)) = mark {
        bail!("expected a block of sh after the comment of line {number}");
    }
    Ok(found)
}

/// One script of those that are run. It says the line of each before it begins, and ends with the first command that fails; what it
/// started in the background ends with it.
#[must_use]
pub fn script(blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\ntrap 'jobs -p | xargs -r kill' EXIT\n".to_owned();
    for block in blocks.iter().filter(|block| block.skipped.is_none()) {
        script += &format!("echo '{LINE}{}'\n{}", block.line, block.commands);
    }
    script
}

/// What stands before the number of a line in a script's output.
pub const LINE: &str = "== line ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_run_or_says_why_not() {
        let text = "a\n```sh\none\ntwo\n```\n<!-- not run by the test: no registry -->\n\n```sh\nthree\n```\n```yaml\na: b\n```\n";
        let block = |line, commands: &str, skipped: Option<&str>| Block {
            line,
            commands: commands.into(),
            skipped: skipped.map(str::to_owned),
        };
        let found = blocks(text).unwrap();
        assert_eq!(found, [block(3, "one\ntwo\n", None), block(9, "three\n", Some("no registry"))]);
        let script = script(&found);
        assert!(script.ends_with("echo '== line 3'\none\ntwo\n"), "{script}");
    }

    #[test]
    fn what_would_go_unnoticed_is_refused() {
        for (text, expected) in [
            ("```sh\none\n", "does not end"),
            ("```bash\none\n```\n", "to say sh"),
            ("<!-- not run by the test: -->\n```sh\none\n```\n", "a reason"),
            ("<!-- not run by the test: for a reason\n```sh\none\n```\n", "a reason"),
            (
                "<!-- not run by the test: why -->\nand so on\n```sh\none\n```\n",
                "after the comment of line 1",
            ),
            ("<!-- not run by the test: why -->\n```yaml\na: b\n```\n", "after the comment of line 1"),
            ("<!-- not run by the test: why -->\n", "after the comment of line 1"),
        ] {
            let error = blocks(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_page_for_kubernetes_is_understood() {
        let found = blocks(include_str!("../../docs/kubernetes.md")).unwrap();
        let run: Vec<_> = found.iter().filter(|block| block.skipped.is_none()).collect();
        for command in
            ["helm upgrade --install folkmoot ", "apply --filename", "folkmoot send", "delete chat/chat"]
        {
            let found = run.iter().any(|block| block.commands.contains(command));
            assert!(found, "expected {command} to be run");
        }
    }
}
