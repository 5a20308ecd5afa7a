//! What `chat-server dev` prints: where it is, who can sign in, what to paste next.

use std::{env, fmt::Write as _, net::SocketAddr, path::Path};

use super::Demo;
use crate::{app::App, config::Config};

/// Where `folkmoot` looks for a server when nothing else is said.
const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

pub(super) fn text(app: &App, config: &Config, demo: Option<&Demo>) -> String {
    let mut out = String::new();
    let url = url(app.address());
    let _ = writeln!(out, "Folkmoot is running.\n");
    let _ = writeln!(out, "  web     {url}");
    let _ = writeln!(out, "  admin   {}/readyz  /metrics", self::url(app.admin_address()));
    let _ = writeln!(out, "  data    {}", config.data.dir.display());
    if let Some(demo) = demo {
        let _ = writeln!(out, "\nSign in as");
        for (place, person) in demo.people.iter().enumerate() {
            let note = if place == 0 { "   (owner)" } else { "" };
            let _ = writeln!(out, "  {:<7} {}{note}", person.handle, person.password);
        }
        let client = client();
        let at = if app.address() == SocketAddr::from(DEFAULT_ADDRESS) {
            String::new()
        } else {
            format!(" --url {url}")
        };
        let _ = writeln!(out, "\nOr in two terminals:");
        let _ = writeln!(out, "  {client} login{at} --user ada && {client} chat general");
        let grace = format!("{client} --profile grace");
        let _ = writeln!(out, "  {grace} login{at} --user grace && {grace} chat general");
    }
    let _ = writeln!(out, "\nCtrl-C stops it.");
    out
}

/// An address that can be opened: nobody connects to "any address".
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

/// How to call the command line client from here: by name if the shell finds it, else by its path beside this program.
fn client() -> String {
    const NAME: &str = "folkmoot";
    let on_path =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(NAME).is_file()));
    let beside = env::current_exe().ok().map(|exe| exe.with_file_name(NAME)).filter(|path| path.is_file());
    match beside {
        Some(path) if !on_path => {
            let here = env::current_dir().unwrap_or_default();
            let shown: &Path = path.strip_prefix(&here).unwrap_or(&path);
            shown.display().to_string()
        }
        _ => NAME.into(),
    }
}
