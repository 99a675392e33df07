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
        if is_shown(c) { quoted.push(c) } else { quoted.extend(c.escape_unicode()) }
    }
    quoted.push('`');
    quoted
}

/// Whether a character can be printed as it is: one that is invisible, changes the direction of
/// the text or joins the one before it would make a message say something else.
pub(super) fn is_shown(c: char) -> bool {
    "'\"\\".contains(c) || c.escape_debug().len() == 1
}

/// "did you mean `x`?", for the nearest known word, if one is near.
pub(super) fn did_you_mean<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    if word.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).clamp(1, 3);
    let nearest = known
        // The lengths alone say that it is too far.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .min_by_key(|&(distance, _)| distance)?;
    if nearest.0 > allowed {
        return None;
    }
    // A letter of another script may look like the right one.
    let foreign = word.chars().find(|c| !c.is_ascii()).map(|c| format!(" ({c:?} is U+{:04X})", u32::from(c)));
    Some(format!("did you mean `{}`?{}", nearest.1, foreign.unwrap_or_default()))
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [all_but_last @ .., last] => format!("`{}` or `{last}`", all_but_last.join("`, `")),
    }
}
