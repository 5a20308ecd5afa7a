//! `bare-broadcaster [ADDRESS]`: the floor that fan-out is compared with.

use std::net::SocketAddr;

use chat_load::broadcaster::Broadcaster;
use clap::Parser;

/// Sends what any socket sends to all sockets, on one thread, and does nothing else.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Where to listen; port 0 picks a free one
    #[arg(default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> std::io::Result<()> {
    let broadcaster = Broadcaster::bind(Cli::parse().listen)?;
    println!("http://{}", broadcaster.local_addr()?);
    broadcaster.serve()
}
