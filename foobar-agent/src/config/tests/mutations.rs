//! No text makes the reader panic, and each of its diagnostics lies inside the text.

use proptest::prelude::*;

use super::full::FULL;
use super::*;

/// What mutations put in: the characters of TOML, and words that mean something.
const PIECES: [&str; 32] = [
    "\n",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    "#",
    ".",
    "!",
    "@",
    "/",
    "-",
    "0",
    "-1",
    "65536",
    "1e9",
    "true",
    "inf",
    "1979-05-27",
    "\u{feff}",
    "ä",
    "\\u001b",
    "@office",
    "'::/0'",
    "name = 'x'",
    "[firewall]",
    "\0",
];

/// Cuts a piece out of the text, and puts another in.
fn mutate(text: &str, at: usize, cut: usize, piece: &str) -> String {
    let boundary =
        |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (boundary(at), boundary(at + cut));
    format!("{}{piece}{}", &text[..start], &text[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_files_are_read_or_refused(
        mutations in prop::collection::vec((0..FULL.len(), 0usize..12, 0..PIECES.len()), 1..6),
    ) {
        let mut text = FULL.to_owned();
        for (at, cut, piece) in mutations {
            text = mutate(&text, at, cut, PIECES[piece]);
        }
        // The folder does not exist, nor does the blocklist: the file is refused, except where that part is cut.
        if let Err(errors) = read_text(&text) {
            prop_assert!(errors.has_errors());
            let lines: Vec<&str> = text.split('\n').collect();
            for error in &errors {
                let line = lines.get(error.line as usize - 1);
                prop_assert!(line.is_some_and(|line| error.column as usize <= line.chars().count() + 1), "{error}");
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = findings(&read_text(&text));
    }
}
