//! The shape of the source: what rooms must not know, the size of files, and that none is orphaned.
//!
//! The table is the one of `docs/architecture.md`, Rooms.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file past this is usually two.
const MAX_LINES: usize = 600;

/// A file of tests is a table, which is read by the row; but there is an end to it too.
const MAX_TEST_LINES: usize = 700;

/// Rooms that are a pure function of their arguments, and what each must not mention.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    ("api", &["crate::", "tokio::"]),
    ("source", &["crate::model", "crate::resources", "crate::xds", "crate::engine"]),
    ("store", &["crate::model", "crate::resources", "crate::xds", "crate::engine", "tokio::"]),
    ("gateway", PURE),
    ("ingress", PURE),
    ("member", PURE),
    (
        "model",
        &[
            "crate::store",
            "crate::resources",
            "crate::xds",
            "k8s_openapi",
            "kube::",
            "prost",
            "serde",
        ],
    ),
    (
        "engine",
        &["std::fs", "tokio::", "tonic::", "kube::", "Instant::now", "SystemTime", "crate::xds"],
    ),
    (
        "resources",
        &["crate::store", "crate::engine", "crate::xds", "k8s_openapi", "kube::", "tokio::"],
    ),
    (
        "snapshot",
        &["crate::model", "crate::resources", "crate::engine", "crate::xds", "crate::store"],
    ),
    ("rbac", PURE),
    (
        "identity",
        &["crate::engine", "crate::ingress", "crate::store", "crate::model", "crate::xds"],
    ),
    ("infra", &["crate::engine", "crate::xds", "crate::store", "crate::ingress", "crate::source"]),
    ("xds", &["crate::engine", "crate::ingress", "crate::store", "crate::model", "kube::"]),
    ("status", &["crate::engine", "crate::ingress", "crate::store", "crate::model", "crate::xds"]),
    ("admin", &["crate::engine", "crate::ingress", "crate::store", "crate::model", "crate::xds"]),
    ("cli", &["crate::engine", "crate::ingress", "crate::store", "crate::model", "crate::xds"]),
];

/// Translation: no IO, no clock, nothing after it.
const PURE: &[&str] = &[
    "crate::resources",
    "crate::xds",
    "crate::snapshot",
    "crate::engine",
    "tokio::",
    "kube::",
    "std::fs",
    "Instant::now",
    "SystemTime",
];

struct File {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests")
            || self.path.ends_with("tests.rs")
    }

    /// The text before the file's own tests: these may use clocks and other rooms.
    fn without_tests(&self) -> &str {
        match (self.is_test(), self.text.find("#[cfg(test)]\nmod tests {")) {
            (true, _) => "",
            (false, Some(end)) => &self.text[..end],
            (false, None) => &self.text,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a directory of the repository.
fn rust_files(dir: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push(File { path: path.strip_prefix(root()).unwrap().to_owned(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Fails with every finding, not only the first.
#[track_caller]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn rooms_do_not_know_what_they_must_not() {
    let mut findings = Vec::new();
    for (room, banned) in MUST_NOT_KNOW {
        let files = rust_files(&format!("src/{room}"));
        assert!(!files.is_empty(), "there is no room src/{room}");
        for file in files {
            let lines = file.without_tests().lines().enumerate();
            let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
            for (idx, line) in code {
                for word in banned.iter().filter(|word| line.contains(**word)) {
                    findings.push(format!(
                        "{}:{}: {room} uses {word}",
                        file.path.display(),
                        idx + 1
                    ));
                }
            }
        }
    }
    none(findings);
}

#[test]
fn every_room_is_in_the_map() {
    let map = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rooms = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let is_missing = |room: &&str| {
        !map.contains(&format!("`src/{room}/`")) && !map.contains(&format!("`src/{room}.rs`"))
    };
    none(
        rooms.filter(is_missing).map(|room| format!("docs/architecture.md lacks {room}")).collect(),
    );
}

#[test]
fn the_annotations_that_are_honoured_are_listed() {
    let source = fs::read_to_string(root().join("src/ingress/annotation/treatment.rs")).unwrap();
    let table = |name: &str| -> BTreeSet<String> {
        let (_, keys) = source.split_once(&format!("const {name}:")).unwrap();
        let (keys, _) = keys.split_once("];").unwrap();
        keys.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    for (document, dialect) in [("README.md", "MSE"), ("docs/hybrid.md", "ALB")] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let (_, rows) = text.split_once("| annotation | does |").unwrap();
        let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
        let first_cells = rows.filter_map(|row| row.split('|').nth(1));
        let listed = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        // A member or a Service follows the dot.
        let listed = listed.filter(|key| !key.contains('.')).map(str::to_owned);
        let honoured = &table("SHARED") | &table(dialect);
        assert_eq!(listed.collect::<BTreeSet<_>>(), honoured, "{document}");
    }
}

#[test]
fn files_tell_one_story() {
    let too_long = |file: &File| {
        let lines = file.text.lines().count();
        let max = if file.is_test() { MAX_TEST_LINES } else { MAX_LINES };
        (lines > max).then(|| format!("{}: {lines} lines", file.path.display()))
    };
    let files = ["src", "tests"].into_iter().flat_map(rust_files);
    none(files.filter_map(|file| too_long(&file)).collect());
}

#[test]
fn every_file_opens_with_what_it_is() {
    // A file of tests is described by the file it tests.
    let is_described = |file: &File| {
        let names = ["tests.rs", "tests/mod.rs"];
        file.text.starts_with("//!") || names.iter().any(|name| file.path.ends_with(name))
    };
    let is_bare = |file: &File| !is_described(file);
    let files = ["src", "tests"].into_iter().flat_map(rust_files);
    none(files.filter(is_bare).map(|file| file.path.display().to_string()).collect());
}

#[test]
fn no_file_is_an_orphan() {
    let reached = reached_from(["src/lib.rs", "src/main.rs"]);
    let is_orphan = |file: &File| !reached.contains(&file.path);
    let orphans = rust_files("src").into_iter().filter(is_orphan);
    none(orphans.map(|file| file.path.display().to_string()).collect());
}

/// The files that `mod` declarations lead to.
fn reached_from<const N: usize>(roots: [&str; N]) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::new();
    let mut to_visit: Vec<PathBuf> = roots.map(PathBuf::from).into();
    while let Some(path) = to_visit.pop() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| path.ends_with(name));
        let dir = if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
        for module in text.lines().filter_map(declared_module) {
            to_visit.push(dir.join(format!("{module}.rs")));
            to_visit.push(dir.join(module).join("mod.rs"));
        }
        reached.insert(path);
    }
    reached
}

/// `name` of `[pub[(…)]] mod name;`.
fn declared_module(line: &str) -> Option<&str> {
    let line = line.trim().strip_suffix(';')?;
    let (before, name) = line.split_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}
