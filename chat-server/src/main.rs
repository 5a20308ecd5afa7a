//! Folkmoot's chat server.
fn main() {}
