//! The XDP programs. On any target but `bpf` this is an empty program, so that plain
//! `cargo build --workspace` works with a stable host toolchain.
fn main() {}
