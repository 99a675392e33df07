//! What may never happen, whatever bytes come: one function for each kind of input, which panics if it
//! does. libFuzzer calls them by `cargo xtask fuzz`; the tests call them with every file of `corpus/`
//! and with mutations of these by a fixed seed (`mutate`), on a stable compiler.

mod capture;
mod config;
mod mutate;
mod packet;
mod prefixes;

pub use capture::capture;
pub use config::config;
pub use mutate::Mutator;
pub use packet::packet;
pub use prefixes::prefixes;

use std::path::Path;

use foobar_agent::config::{Diagnostics, Severity};

/// Every diagnostic lies in the file that it names, which is one of ours, and says something.
fn check_positions(found: &Diagnostics, texts: &[(&Path, &[u8])]) {
    for diagnostic in found {
        let position = (diagnostic.line, diagnostic.column);
        assert!(!diagnostic.message.is_empty(), "a diagnostic without words at {position:?}");
        assert!(!diagnostic.to_string().contains('\0'), "a terminal would be sent {diagnostic}");
        let text = texts.iter().find(|(path, _)| *path == diagnostic.file).map(|(_, text)| *text);
        let Some(text) = text else { panic!("{diagnostic} is in a file that is none of ours") };
        if position == (0, 0) {
            continue;
        }
        let line = text.split(|&byte| byte == b'\n').nth(diagnostic.line as usize - 1);
        let Some(line) = line else { panic!("{diagnostic} is behind the end of the file") };
        // A byte that is no UTF-8 is one character or part of one, so there are at most as many.
        assert!(
            diagnostic.column >= 1 && diagnostic.column as usize <= line.len() + 1,
            "{diagnostic} is behind the end of its line"
        );
    }
}

/// Whether any of them refuses the configuration.
fn refuses(found: &Diagnostics) -> bool {
    found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}
