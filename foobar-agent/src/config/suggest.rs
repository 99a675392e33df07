//! Words for messages: quoting what the user wrote, and guessing what was meant.

/// Longer words are not compared: guessing costs the product of the lengths.
const MAX_COMPARED_BYTES: usize = 64;
/// What a message repeats of the user's text at most, in characters.
const MAX_QUOTED_CHARS: usize = 120;

/// The user's text in backticks, shortened, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, c) in text.chars().enumerate() {
        if index == MAX_QUOTED_CHARS {
            quoted.push('…');
            break;
        }
        if c.is_control() { quoted.extend(c.escape_default()) } else { quoted.push(c) }
    }
    quoted.push('`');
    quoted
}

/// "did you mean `x`?", for the nearest known word, if one is near.
pub(super) fn did_you_mean<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    if word.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).clamp(1, 3);
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .min_by_key(|&(distance, _)| distance)?;
    (nearest.0 <= allowed).then(|| format!("did you mean `{}`?", nearest.1))
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [all_but_last @ .., last] => format!("`{}` or `{last}`", all_but_last.join("`, `")),
    }
}
