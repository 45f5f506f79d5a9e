//! The documents are held to the tree: every relative link resolves, heading anchors included, and every item that a
//! page names by its path exists, tests above all.
//!
//! The rules are pure; the tests below run them over the checkout, so that `cargo test` alone shows a broken page.

mod links;
mod names;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{links, names};
    use crate::workspace::Workspace;

    struct Tree {
        root: PathBuf,
        pages: Vec<(PathBuf, String)>,
        sources: Vec<String>,
    }

    fn tree() -> Tree {
        let workspace = Workspace::find().expect("cargo and the checkout are here: this test runs from them");
        let files = workspace.files().expect("git lists the checkout's files");
        let read =
            |path: &Path| fs::read_to_string(workspace.root.join(path)).expect("a tracked page or source is text");
        let of_kind = |kind: &'static str| {
            files
                .iter()
                .filter(move |file| file.extension().is_some_and(|extension| extension == kind))
        };
        Tree {
            pages: of_kind("md").map(|page| (page.clone(), read(page))).collect(),
            sources: of_kind("rs").map(|source| read(source)).collect(),
            root: workspace.root,
        }
    }

    #[test]
    fn every_relative_link_in_the_documents_resolves() {
        let tree = tree();
        let broken: Vec<String> = tree
            .pages
            .iter()
            .flat_map(|(page, text)| links::broken(&tree.root, page, text))
            .collect();
        assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    }

    #[test]
    fn every_page_of_the_book_is_in_its_summary() {
        let tree = tree();
        let summary = Path::new("docs/SUMMARY.md");
        let of_book = |(page, _): &&(PathBuf, String)| page.starts_with("docs") && page != summary;
        let (_, listed) = tree
            .pages
            .iter()
            .find(|(page, _)| page == summary)
            .expect("the summary is there");
        for (page, _) in tree.pages.iter().filter(of_book) {
            let name = page.strip_prefix("docs").expect("it is in there").display();
            assert!(listed.contains(&format!("]({name})")), "docs/SUMMARY.md lacks {name}");
        }
    }

    #[test]
    fn every_path_that_a_document_names_exists() {
        let tree = tree();
        let defined = names::Defined::in_sources(&tree.sources);
        let missing: Vec<String> = tree
            .pages
            .iter()
            .flat_map(|(page, text)| names::missing_paths(page, text, &defined))
            .collect();
        assert!(
            missing.is_empty(),
            "named but not in the sources:\n{}",
            missing.join("\n")
        );
    }

    #[test]
    fn every_delivery_guarantee_names_a_test_that_exists() {
        let tree = tree();
        let page = Path::new("docs/delivery-guarantees.md");
        let (_, text) = tree
            .pages
            .iter()
            .find(|(path, _)| path == page)
            .expect("docs/delivery-guarantees.md is in the tree");
        let defined = names::Defined::in_sources(&tree.sources);
        let wrong = names::unproven_rows(page, text, &defined);
        assert!(wrong.is_empty(), "guarantees without a test:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_metric_is_in_the_engines_list_and_on_the_operators_page_in_its_words() {
        let tree = tree();
        let read = |path: &str| fs::read_to_string(tree.root.join(path)).expect("list and page are in the tree");
        let (list, page) = (read("chat-core/src/metrics.rs"), read("docs/operations.md"));
        let listed = names::described_metrics(&list);
        let counted = names::metrics(&tree.sources);
        assert!(counted.len() > 10, "{counted:?}");
        assert_eq!(
            counted,
            listed.keys().copied().collect(),
            "counted, and in chat-core/src/metrics.rs"
        );
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `chat_")).collect();
        assert_eq!(rows.len(), listed.len(), "a row for each, and no other");
        for (name, what) in listed {
            let is_its =
                |row: &&str| row.starts_with(&format!("| `{name}` |")) && row.ends_with(&format!("| {what} |"));
            assert!(rows.iter().any(is_its), "docs/operations.md lacks `{name}`: {what}");
        }
    }
}
