//! Phrases that no file of the tree may hold: unfinished places, tests put to sleep, paths of somebody's machine.

use std::path::Path;

// Written in two halves, so that this file passes its own rule.
const UNFINISHED_CALLS: [&str; 2] = [concat!("todo", "!("), concat!("unimplemented", "!(")];
const UNFINISHED_WORDS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
const IGNORED_TEST: &str = concat!("#[", "ignore");
const HOMES: [&str; 3] = [concat!("/", "root/"), concat!("/", "home/"), concat!("/", "Users/")];

/// The findings of one text file: line number and reason.
pub fn findings(text: &str, file: &Path, checkout: &Path) -> Vec<(usize, String)> {
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    let checkout = format!("{}/", checkout.display());
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut found = |why: String| findings.push((index + 1, why));
        if is_rust && UNFINISHED_CALLS.iter().any(|call| line.contains(call)) {
            found("unfinished: write it, or return an error that says what is missing".into());
        }
        if is_rust && line.contains(IGNORED_TEST) {
            found("a test that does not run proves nothing".into());
        }
        for word in UNFINISHED_WORDS {
            if starts_at_a_boundary(line, word, |rest| !rest.starts_with(is_word)) {
                found(format!("`{word}` marks an unfinished place"));
            }
        }
        for home in HOMES {
            if starts_at_a_boundary(line, home, |_| true) {
                found(format!("a path of somebody's machine: `{home}`"));
            }
        }
        if checkout.len() > 2 && line.contains(&checkout) {
            found("the path of this checkout".into());
        }
    }
    findings
}

/// Whether `phrase` occurs with no word character before it and a rest that `accept` takes.
fn starts_at_a_boundary(line: &str, phrase: &str, accept: impl Fn(&str) -> bool) -> bool {
    line.match_indices(phrase).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| is_word(character) || character == '.') && accept(&line[at + phrase.len()..])
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, file: &str) -> Vec<usize> {
        let found = findings(text, Path::new(file), Path::new("/checkout/of/this"));
        found.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn unfinished_places_and_ignored_tests_are_found_in_rust() {
        let text = [UNFINISHED_CALLS[0], "fine", UNFINISHED_CALLS[1], IGNORED_TEST].join("\n");
        assert_eq!(lines(&text, "src/lib.rs"), [1, 3, 4]);
        assert_eq!(lines(&text, "docs/page.md"), [0; 0], "prose may talk about them");
    }

    #[test]
    fn unfinished_words_count_only_as_words() {
        let [fix, x] = UNFINISHED_WORDS;
        assert_eq!(lines(&format!("// {fix}: later\n{x}\n_{x}\n{x}L"), "a.txt"), [1, 2]);
    }

    #[test]
    fn paths_of_a_machine_are_found_and_parts_of_addresses_are_not() {
        let [root, home, _] = HOMES;
        let text = format!("cd {root}chat\n\"{home}ana\"\nhttps://chat.example{home}page\n/checkout/of/this/src");
        assert_eq!(lines(&text, "README.md"), [1, 2, 4]);
    }
}
