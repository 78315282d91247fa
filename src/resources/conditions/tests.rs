use super::*;

/// Envoy's matcher of a value, applied here with another engine of the same syntax.
fn matches(value: &ValueMatch, text: &str) -> bool {
    use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
    match string(value).match_pattern {
        Some(MatchPattern::Exact(exact)) => exact == text,
        Some(MatchPattern::SafeRegex(regex)) => full_match(&regex.regex, text),
        other => panic!("not a matcher of ours: {other:?}"),
    }
}

fn full_match(regex: &str, text: &str) -> bool {
    let regex = regex_automata::meta::Regex::new(&format!(r"\A(?:{regex})\z")).unwrap();
    regex.is_match(text)
}

fn header_regex(matcher: &pb::HeaderMatcher) -> String {
    use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
    let Some(HeaderMatchSpecifier::StringMatch(value)) = &matcher.header_match_specifier else {
        panic!("not a string match: {matcher:?}")
    };
    match &value.match_pattern {
        Some(MatchPattern::SafeRegex(regex)) => regex.regex.clone(),
        other => panic!("not an expression: {other:?}"),
    }
}

#[test]
fn values() {
    let exact = ValueMatch::Exact("Always".into());
    let one_of = ValueMatch::OneOf(vec!["always".into(), "a.c|d".into()]);
    let contains = |regex: &str| ValueMatch::Contains(Regex::new(regex).unwrap());
    let cases = [
        (exact.clone(), "Always", true),
        (exact.clone(), "always", false),
        (exact, "Always,Always", false),
        (one_of.clone(), "always", true),
        (one_of.clone(), "a.c|d", true),
        (one_of.clone(), "abc", false),
        (one_of, "alwaysd", false),
        (ValueMatch::OneOf(vec![]), "always", false),
        (contains("b+"), "abbbc", true),
        (contains("a|b"), "xbx", true),
        (contains("^b"), "ab", false),
        (contains("^b"), "ba", true),
        (contains("b$"), "ba", false),
        (contains("(?i)B"), "abc", true),
    ];
    for (value, text, expected) in cases {
        assert_eq!(matches(&value, text), expected, "{value:?} on {text}");
    }
}

#[test]
fn a_cookie_is_one_of_several() {
    let regex = header_regex(&cookie("s.id", "a+b"));
    let cases = [
        ("s.id=a+b", true),
        ("x=1; s.id=a+b", true),
        ("x=1;s.id=a+b;y=2", true),
        ("x=1; s.id=a+b; y=2", true),
        ("s.id=a+bc", false),
        ("xs.id=a+b", false),
        ("s-id=a+b", false),
        ("s.id=aab", false),
        ("x=s.id=a+b", false),
    ];
    for (text, expected) in cases {
        assert_eq!(full_match(&regex, text), expected, "{text}");
    }
}

#[test]
fn a_wildcard_host_is_one_label() {
    let guard = wildcard_guard(&Host::Wildcard("foo.com".into())).unwrap();
    let regex = header_regex(&guard);
    let cases = [
        ("bar.foo.com", true),
        ("BAR.Foo.Com", true),
        ("bar.foo.com:8080", true),
        ("baz.bar.foo.com", false),
        ("foo.com", false),
        (".foo.com", false),
        ("bar.fooxcom", false),
        ("bar.foo.com:", false),
    ];
    for (text, expected) in cases {
        assert_eq!(full_match(&regex, text), expected, "{text}");
    }
    assert_eq!(wildcard_guard(&Host::Any), None);
    assert_eq!(wildcard_guard(&Host::Exact("foo.com".into())), None);
}
