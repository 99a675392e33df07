//! How much of what is drawn by chance is tried: all of it, or, on a machine that is slow, the part
//! that `FOOBAR_TESTS_PART=N` asks for: one of so many.

use std::env;

/// The variable.
pub const VARIABLE: &str = "FOOBAR_TESTS_PART";

/// Whether all of it is tried.
pub fn is_whole() -> bool {
    env::var_os(VARIABLE).is_none()
}

/// Of so many, those that are tried: at least one.
///
/// # Panics
/// Where the variable is no number above 0.
pub fn part_of(whole: usize) -> usize {
    match env::var(VARIABLE) {
        Ok(text) => match text.parse() {
            Ok(part @ 1..) => (whole / part).max(1),
            _ => panic!("{VARIABLE}={text} is no number above 0"),
        },
        Err(_) => whole,
    }
}
