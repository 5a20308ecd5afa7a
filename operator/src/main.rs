//! Folkmoot's operator.

fn main() {}
