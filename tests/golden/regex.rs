//! Our verdict on expressions against Envoy's (faults.md F1, F2).

use convoy::{model::Regex, resources::defaults::RE2_PROGRAM_LIMIT};
use serde_json::json;

use crate::envoy;

/// What is expected of both.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// Both accept, and our estimate of the program is not below Envoy's count.
    Accepted,
    /// Both refuse.
    Refused,
    /// Envoy accepts it and we do not: it is too large, means something else than it seems to, or
    /// could only match what is not ASCII.
    Stricter,
}

use Verdict::{Accepted, Refused, Stricter};

const SYNTAX: &[(&str, Verdict)] = &[
    // What routes are made of.
    ("/foo", Accepted),
    ("/foo/.*", Accepted),
    ("/foo/[A-Z0-9]{3}", Accepted),
    (r"/svc/(.*)", Accepted),
    (r"^/api/v1/object/[\w]{32}/action$", Accepted),
    (r"(.*a){20}", Accepted),
    (r"/v\d+(\.\d+)*/?", Accepted),
    (r"/(en|de|fr)(-[a-z]{2})?/.*", Accepted),
    (r"(?i)/some/path/kiosk", Accepted),
    (r"(?i:abc)def", Accepted),
    (r"(?s).+", Accepted),
    (r"(?U)a+b*", Accepted),
    (r"(?m)^a$", Accepted),
    (r"(?-i)a", Accepted),
    (r"\A/x\z", Accepted),
    (r"\bword\B", Accepted),
    (r"(?P<id>[0-9]+)", Accepted),
    (r"(?<id>[0-9]+)", Accepted),
    (r"a*?b+?c??d{2,3}?", Accepted),
    (r"a{0}b{2,}c{,3}", Stricter),
    (r"x{1000}", Stricter),
    (r"x{300}", Accepted),
    (r"(a|b|)", Accepted),
    (r"()", Accepted),
    (r"^*", Accepted),
    (r"[]a]", Accepted),
    (r"[^]a]", Accepted),
    (r"[a-z&&b]", Stricter),
    (r"[+--]", Stricter),
    (r"[a-]", Accepted),
    (r"[\d-z]", Stricter),
    (r"[[:alpha:]_]+", Accepted),
    (r"[[:^space:]]", Accepted),
    (r"[^a]", Accepted),
    (r"[^\w]", Accepted),
    (r"[\w.%+-]+@[\w.-]+", Accepted),
    (r"\D\S\W\s", Accepted),
    (r"\x41\x{42}\t\f\v\a\n\r", Accepted),
    (r"\_\-\/\.\@\%\!\,", Accepted),
    ("日本", Stricter),
    ("(?i)ÄÖÜ", Stricter),
    ("[à-ü]", Stricter),
    ("(?i)[à-ü]", Stricter),
    ("[a-ÿ]", Stricter),
    ("(?i)[a-z]+", Accepted),
    ("(?i)[^k]", Accepted),
    ("]", Accepted),
    ("}", Accepted),
    ("a{", Stricter),
    ("a{b}", Stricter),
    // What other engines know and RE2 does not.
    ("*.foo", Refused),
    ("+", Refused),
    ("a|*", Refused),
    ("(*)", Refused),
    ("(?=a)", Refused),
    ("(?!a)", Refused),
    ("(?<=a)b", Refused),
    ("(?<!a)b", Refused),
    ("(?>a)", Refused),
    (r"(a)\1", Refused),
    (r"(?P<n>a)(?P=n)", Refused),
    ("a**", Refused),
    ("a++", Refused),
    ("a?+", Refused),
    ("a{2}{3}", Refused),
    ("(a{2}){3}", Accepted),
    ("a{1001}", Refused),
    ("a{2,1001}", Refused),
    ("a{3,2}", Refused),
    ("((a{100}){100}){100}", Refused),
    ("(", Refused),
    (")", Refused),
    ("(a", Refused),
    ("[a", Refused),
    ("[z-a]", Refused),
    ("[[:nope:]]", Refused),
    (r"\", Refused),
    (r"\Z", Refused),
    (r"\G", Refused),
    (r"\K", Refused),
    (r"\R", Refused),
    (r"\h", Refused),
    (r"\e", Refused),
    (r"\y", Refused),
    (r"\u0041", Refused),
    (r"\U00000041", Refused),
    (r"\x{100}", Refused),
    (r"\x{e9}", Stricter),
    (r"\x{110000}", Refused),
    (r"[\b]", Refused),
    ("(?x)a b", Refused),
    ("(?u)a", Refused),
    ("(?R)a", Refused),
    ("(?i-)a", Refused),
    ("(?P<a.b>c)", Refused),
    ("(?P<a>b)(?P<a>c)", Stricter),
    (r"\p{Alphabetic}", Refused),
    (r"\p{script=Greek}", Refused),
    ("", Refused),
    // What RE2 reads otherwise.
    (r"\<a\>", Stricter),
    (r"\b{start}a", Stricter),
    ("[a[b]]", Stricter),
    (r"[a\&\&b]", Accepted),
    ("[a--b]", Refused),
    ("[a~~b]", Stricter),
    (r"\C", Stricter),
    (r"\Qa.b\E", Stricter),
    (r"\012", Stricter),
    // What only costs memory.
    (r"\pL", Stricter),
    (r"\p{Greek}+", Stricter),
    (r"[\pN_]", Stricter),
];

/// The size of the program that Envoy makes of an expression; `None` if it refuses the syntax.
/// The limit is 0, so that Envoy always complains, and tells the size if there is one.
fn envoy_size(regex: &str) -> Option<u32> {
    let routes = json!({
        "name": "oracle",
        "virtual_hosts": [{ "name": "*", "domains": ["*"], "routes": [{
            "match": { "safe_regex": { "regex": regex } },
            "direct_response": { "status": 200 },
        }] }],
    });
    let resources = json!({ "listeners": [envoy::listener("oracle", routes)] });
    let said = envoy::validate(&envoy::bootstrap(resources, 0).to_string());
    let said = said.expect_err("no program has size 0");
    let (_, after) = said.split_once("program size of ")?;
    after.split(' ').next().and_then(|size| size.parse().ok())
}

/// What is wrong with our verdict, if anything.
fn check(regex: &str, expected: Verdict) -> Option<String> {
    let ours = Regex::new(regex);
    let envoys = envoy_size(regex).filter(|size| *size <= RE2_PROGRAM_LIMIT);
    let verdict = match (&ours, envoys) {
        (Ok(_), Some(_)) => Accepted,
        (Err(_), None) => Refused,
        (Err(_), Some(_)) => Stricter,
        (Ok(_), None) => return Some(format!("`{regex}` would poison a table")),
    };
    if verdict != expected {
        return Some(format!("`{regex}`: {verdict:?}; we say {ours:?}, Envoy counts {envoys:?}"));
    }
    let (estimate, counted) = (Regex::program_size(regex).ok()?, usize::try_from(envoys?).ok()?);
    (estimate < counted).then(|| format!("`{regex}`: estimated {estimate}, Envoy counts {counted}"))
}

#[test]
fn fault_f01_what_envoy_refuses_is_refused_before() {
    let wrong = SYNTAX.iter().filter_map(|(regex, expected)| check(regex, *expected));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fault_f02_what_is_too_big_is_refused_with_its_size() {
    let alternation = (0..400).map(|n| format!("w{n}")).collect::<Vec<_>>().join("|");
    let cases = [
        ("a?".repeat(400), "its program has size"),
        (alternation, "its program has size"),
        ("(x{30}){30}".into(), "its program has size"),
        ("a".repeat(5000), "it has 5000 bytes"),
    ];
    for (regex, expected) in cases {
        let why = Regex::new(&regex).unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
        // The limit of the bootstrap is a backstop, not the rule.
        assert!(envoy_size(&regex).is_some_and(|size| size <= RE2_PROGRAM_LIMIT), "{expected}");
    }
}
