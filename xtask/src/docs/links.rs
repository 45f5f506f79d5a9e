//! Relative links of Markdown pages.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The links of a page that lead nowhere, each as a sentence with its place.
pub fn broken(root: &Path, page: &Path, text: &str) -> Vec<String> {
    let folder = page.parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for (line, target) in targets(text) {
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
        if is_elsewhere {
            continue;
        }
        let (path, anchor) = target
            .split_once('#')
            .map_or((&*target, None), |(path, anchor)| (path, Some(anchor)));
        let file = if path.is_empty() {
            page.to_path_buf()
        } else {
            normal(&folder.join(path))
        };
        let mut found = |why: &str| broken.push(format!("{}:{line}: `{target}` {why}", page.display()));
        if file != page && !root.join(&file).exists() {
            found("does not exist");
            continue;
        }
        let Some(anchor) = anchor else { continue };
        if file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let there = if file == page {
            Some(text.to_owned())
        } else {
            fs::read_to_string(root.join(&file)).ok()
        };
        if !anchors(&there.unwrap_or_default()).iter().any(|known| known == anchor) {
            found("names no heading of that page");
        }
    }
    broken
}

/// Every link target outside code, with its line number: `[text](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let Some((target, _)) = line[at + 2..].split_once(')') else {
                continue;
            };
            // A title may follow the target.
            let target = target.split_whitespace().next().unwrap_or("");
            targets.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
        let reference = line
            .trim_start()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = reference {
            targets.push((number, target.split_whitespace().next().unwrap_or("").to_owned()));
        }
    }
    targets
}

/// The anchors that a forge makes of the headings: lower case, spaces to hyphens, punctuation gone, repeats numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let repeats = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if repeats == 0 {
            anchor
        } else {
            format!("{anchor}-{repeats}")
        });
    }
    anchors
}

/// The numbered lines outside fenced code.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The line with its code spans cut out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

/// `a/../b` as `b`, without asking the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_outside_code_only() {
        let page = "See [a](a.md \"title\") and `[b](b.md)`.\n```\n[c](c.md)\n```\n[d]: d.md#part\n";
        assert_eq!(targets(page), [(1, "a.md".to_owned()), (5, "d.md#part".to_owned())]);
    }

    #[test]
    fn anchors_are_those_a_forge_makes() {
        let page = "# The `hello` frame, first\n## Bad input\n```\n# no heading\n```\n## Bad input\n#tag\n";
        assert_eq!(anchors(page), ["the-hello-frame-first", "bad-input", "bad-input-1"]);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page =
            "# Here\n[good](Cargo.toml) [good](#here) [good](https://example.org/x)\n[bad](no-such-file) [bad](#there)";
        let found = broken(root, Path::new("page.md"), page);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
