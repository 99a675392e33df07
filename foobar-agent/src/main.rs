//! The `foobar-agent` command.
fn main() {}
