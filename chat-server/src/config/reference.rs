//! The documentation of all settings, from the table itself.

use std::fmt::Write as _;

use super::{Config, Kind, SETTINGS, variable_name};

const HEAD: &str = "# Configuration

Without any configuration `chat-server serve` runs with the defaults below. `chat-server check-config` says everything
that is wrong with a configuration at once, and prints what is in force and where each value came from.

Values come from, each winning over the one before:

1. the defaults,
2. a TOML file: `chat-server serve --config folkmoot.toml`,
3. the environment: `FOLKMOOT_SECTION__KEY`, lists separated by commas,
4. flags: `--listen`, `--admin-listen`, `--data-dir`, and `--set section.key=value` for every other one.

Unknown keys are refused, with the nearest known one. `chat-server dev` takes the same settings.

```toml
[server]
listen = \"0.0.0.0:8080\"

[auth]
registration = \"closed\"
```

This page is generated: `chat-server check-config --reference > docs/configuration.md`. A test keeps it fresh.
";

/// The text of `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let defaults = Config::default();
    let mut out = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section() != section {
            section = setting.section();
            let _ =
                writeln!(out, "\n## `[{section}]`\n\n| key | takes | default | meaning |\n|---|---|---|---|");
        }
        let default = match setting.kind {
            // Depends on who runs it.
            Kind::Path => "the user's data folder, such as `~/.local/share/folkmoot`".to_owned(),
            _ => format!("`{}`", (setting.get)(&defaults)),
        };
        let takes = match setting.kind {
            Kind::Level => "log directives".to_owned(),
            kind => kind.expected(),
        };
        let _ = writeln!(out, "| `{}` | {takes} | {default} | {} |", setting.name(), setting.help);
    }
    let example = variable_name("auth.registration");
    let _ = writeln!(out, "\nAs a variable, `auth.registration` is `{example}`, and so on.");
    out
}
