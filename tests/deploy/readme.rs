//! The front door: commands that people copy, and promises that they rely on.

use std::{collections::BTreeSet, fs};

use crate::program::{convoy, helm, root};

/// Before the block that installs everything. The scenario `install` on real clusters plays it.
const INSTALL: &str = "<!-- install:";

/// From nothing to a gateway that fails over.
const MAX_COMMANDS: usize = 8;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The commands of the first indented block after a mark.
fn commands<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark}"));
    let lines = rest.lines().skip_while(|line| !line.starts_with("    "));
    lines.map_while(|line| line.strip_prefix("    ")).collect()
}

pub(crate) fn it_is_installed_with_few_commands() {
    let text = readme();
    let commands = commands(&text, INSTALL);
    assert!((1..=MAX_COMMANDS).contains(&commands.len()), "{commands:?}");
    for command in &commands {
        // One line is one command.
        assert!(!command.contains(['&', ';', '|', '\\']), "{command}");
        let words: Vec<&str> = command.split(' ').collect();
        match words[0] {
            "helm" => drop(helm(&[&words[1..], &["--dry-run=client"]].concat()).unwrap()),
            "convoy" => drop(convoy(&[&words[1..], &["--help"]].concat()).unwrap()),
            other => assert!(["docker", "kubectl"].contains(&other), "{command}"),
        }
    }
    let count = |beginning: &str| commands.iter().filter(|it| it.starts_with(beginning)).count();
    assert_eq!((count("helm install"), count("convoy member add")), (2, 2), "{commands:?}");
}

/// Each line of the table names tests, and each of them is there.
pub(crate) fn what_it_promises_is_tested() {
    let text = readme();
    let (_, table) = text.split_once("| what fails | ").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:?}");
    let tests = all_of("tests");
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "{name}: there is no such test");
        }
    }
}

/// Annotations of gateways are those that the code reads.
pub(crate) fn annotations_of_gateways_are_listed() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, table) = text.split_once("| annotation | default | does |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<&str> = rows
        .flat_map(|row| row.split('`').filter(|cell| cell.starts_with("convoy.dev/")))
        .collect();
    let code = all_of("src/gateway");
    let read: BTreeSet<&str> = code
        .lines()
        .filter(|line| line.contains("const ") && line.contains(": &str = \"convoy.dev/"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(listed, read);
}

/// All Rust in a directory.
fn all_of(dir: &str) -> String {
    let mut text = String::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                Some(ending) if ending == "rs" => text += &fs::read_to_string(&path).unwrap(),
                Some(_) => {}
                None => dirs.extend(path.is_dir().then_some(path)),
            }
        }
    }
    text
}
