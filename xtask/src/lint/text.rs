//! Splits Rust source into code and comments, line by line, with the content of strings left out of
//! both: so that a rule about code never trips over words. Knows no rule.

/// One line of a source file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The code, with every string and character literal emptied.
    pub(super) code: String,
    /// What is said in comments.
    pub(super) comment: String,
}

enum State {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    String,
    /// A raw string, with the number of `#` that end it.
    RawString(usize),
}

/// The lines of `source`.
pub(super) fn split(source: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        if character == '\n' {
            lines.push(Line::default());
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
        } else if let Some(line) = lines.last_mut() {
            (state, taken) = step(state, rest, character, line);
        }
        rest = &rest[taken..];
    }
    lines
}

/// Takes what `rest` begins with; returns the state after it, and its length.
fn step(state: State, rest: &str, character: char, line: &mut Line) -> (State, usize) {
    let width = character.len_utf8();
    match state {
        State::Code => step_code(rest, character, line),
        State::BlockComment(depth) if rest.starts_with("*/") => {
            (if depth == 1 { State::Code } else { State::BlockComment(depth - 1) }, 2)
        }
        State::BlockComment(depth) if rest.starts_with("/*") => (State::BlockComment(depth + 1), 2),
        State::LineComment | State::BlockComment(_) => {
            line.comment.push(character);
            (state, width)
        }
        // A backslash at the end of a line must leave the line break to be seen.
        State::String if character == '\\' && !rest.starts_with("\\\n") => {
            (State::String, width + rest.chars().nth(1).map_or(0, char::len_utf8))
        }
        State::String if character == '"' => (State::Code, width),
        State::String => (State::String, width),
        State::RawString(hashes) if character == '"' && rest[1..].starts_with(&"#".repeat(hashes)) => {
            (State::Code, width + hashes)
        }
        State::RawString(_) => (state, width),
    }
}

fn step_code(rest: &str, character: char, line: &mut Line) -> (State, usize) {
    if rest.starts_with("//") {
        return (State::LineComment, 2);
    }
    if rest.starts_with("/*") {
        return (State::BlockComment(1), 2);
    }
    let is_word_before = line.code.chars().next_back().is_some_and(is_word);
    if character == 'r' && !is_word_before {
        let hashes = rest[1..].chars().take_while(|character| *character == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return (State::RawString(hashes), 2 + hashes);
        }
    }
    if character == '"' {
        return (State::String, 1);
    }
    if character == '\''
        && let Some(length) = character_literal(rest)
    {
        return (State::Code, length);
    }
    line.code.push(character);
    (State::Code, character.len_utf8())
}

/// The length of the character literal that `rest` begins with; `None` for a lifetime.
fn character_literal(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        characters.next()?;
        return characters.find(|(_, character)| *character == '\'').map(|(index, _)| index + 1);
    }
    characters.next().filter(|(_, character)| *character == '\'').map(|(index, _)| index + 1)
}

/// The identifiers and keywords of a line of code.
pub(super) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character| !is_word(character)).filter(|word| !word.is_empty())
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: &str) -> (String, String) {
        let lines = split(source);
        assert_eq!(lines.len(), 1, "{lines:?}");
        (lines[0].code.clone(), lines[0].comment.clone())
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(line("let a = 1; // one"), ("let a = 1; ".into(), " one".into()));
        assert_eq!(line("f(\"a // \\\" b\") // c"), ("f() ".into(), " c".into()));
        assert_eq!(line("f(r#\"a \" // b\"#, b\"x\")"), ("f(, b)".into(), String::new()));
        assert_eq!(line("f('\"', '\\'', '\\u{1f}', x) // c"), ("f(, , , x) ".into(), " c".into()));
        assert_eq!(line("fn f<'a>(x: &'a str) {}").0, "fn f<'a>(x: &'a str) {}");
        assert_eq!(line("a /* b /* c */ d */ e"), ("a  e".into(), " b  c  d ".into()));
    }

    #[test]
    fn strings_and_comments_go_over_lines() {
        let lines = split("a(\"x\\\n unsafe\n\") /* b\nc */ d\n");
        let code: Vec<&str> = lines.iter().map(|line| line.code.as_str()).collect();
        assert_eq!(code, ["a(", "", ") ", " d", ""]);
        assert_eq!(lines[2].comment, " b");
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<&str> = words("#![deny(unsafe_code)] aya::Ebpf").collect();
        assert_eq!(found, ["deny", "unsafe_code", "aya", "Ebpf"]);
    }
}
