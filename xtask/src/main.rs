//! Everything that a person types in this repository.
fn main() {}
