//! Configurations: any bytes are read or refused, every error has its place in a file, and what is
//! taken has no error.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use foobar_agent::config as agent;
use tempfile::TempDir;

use crate::{check_positions, refuses};

/// Longer inputs only repeat what shorter ones find, more slowly.
const BYTES_MAX: usize = 16 * 1024;

/// What a configuration may name as a set.
const SET: &[u8] = b"192.0.2.0/24\n2001:db8::/32 # documentation\n198.51.100.7/24\n";

struct Place {
    config: PathBuf,
    set: PathBuf,
    _folder: TempDir,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(place());
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let (config, set) = (folder.path().join("foobar.toml"), folder.path().join("set.txt"));
    fs::write(&set, SET).unwrap_or_else(|error| panic!("{error}"));
    Place { config, set, _folder: folder }
}

/// The text of a configuration, beside which lies the prefix file `set.txt`.
///
/// # Panics
/// If what may never happen does.
pub fn config(text: &[u8]) {
    if text.len() > BYTES_MAX {
        return;
    }
    PLACE.with_borrow(|place| {
        fs::write(&place.config, text).unwrap_or_else(|error| panic!("{error}"));
        let files = [(place.config.as_path(), text), (place.set.as_path(), SET)];
        match agent::load(&place.config) {
            Ok(loaded) => {
                assert!(!refuses(&loaded.warnings), "taken with errors:\n{}", loaded.warnings);
                check_positions(&loaded.warnings, &files);
            }
            Err(errors) => {
                assert!(refuses(&errors), "refused without an error:\n{errors}");
                check_positions(&errors, &files);
            }
        }
    });
}
