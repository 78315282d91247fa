//! `deploy/observability/`: alerts and a dashboard over the metrics that there are.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::program::{promcheck, root};

const ALERTS: &str = "deploy/observability/alerts.yaml";
const DASHBOARD: &str = "deploy/observability/dashboard.json";

/// As Prometheus parses them.
pub(crate) fn rules_and_expressions_parse() {
    assert_eq!(promcheck(&[ALERTS, DASHBOARD]).as_deref(), Ok(""));
    // It can refuse.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yaml");
    fs::write(&file, "groups: [{name: a, rules: [{alert: B, expr: sum(c}]}]").unwrap();
    promcheck(&[file.to_str().unwrap()]).unwrap_err();
}

pub(crate) fn every_alert_says_what_is_lost() {
    let text = fs::read_to_string(root().join(ALERTS)).unwrap();
    let alerts: Value = serde_saphyr::from_str(&text).unwrap();
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    assert!(!rules.is_empty());
    for rule in rules {
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["info", "warning", "critical"].contains(&severity), "{rule}");
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        assert!(rule["annotations"]["impact"].is_string(), "{rule}");
    }
}

pub(crate) fn names_are_those_of_metrics() {
    let exposed = exposed(&scrape());
    for file in [ALERTS, DASHBOARD] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with("convoy_")).collect();
        assert!(!used.is_empty(), "{file}");
        let unknown: Vec<_> = used.into_iter().filter(|name| !exposed.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// Names of the series that a scrape can have.
fn exposed(scraped: &str) -> BTreeSet<String> {
    let families = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = families.flat_map(|family| {
        let (name, kind) = family.split_once(' ').unwrap();
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{name} is a {other}"),
        };
        endings.iter().map(move |ending| format!("{name}{ending}"))
    });
    names.collect()
}

/// What `/metrics` of a Convoy answers.
fn scrape() -> String {
    let serve = Command::new(env!("CARGO_BIN_EXE_convoy"))
        .args([
            "serve",
            "--xds-listen=127.0.0.1:0",
            "--xds-plaintext",
            "--admin-listen=127.0.0.1:0",
        ])
        .args(["--log-format=json", "--fleet-dir"])
        .arg(root().join("examples/zone-dr"))
        .stderr(Stdio::piped())
        .spawn();
    let mut serve = Served(serve.unwrap());
    let log = BufReader::new(serve.0.stderr.take().unwrap());
    let address = log.lines().find_map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        Some(line.get("admin")?.as_str()?.to_owned())
    });
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: convoy\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Killed when dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
