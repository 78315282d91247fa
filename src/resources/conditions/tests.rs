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

#[test]
fn ranges_of_addresses_are_what_their_expressions_match() {
    let check = |network: &str, bits: u8, inside: &[&str], outside: &[&str]| {
        let text = range(&Ipv4Range { network: network.parse().unwrap(), bits });
        for (addresses, expect) in [(inside, true), (outside, false)] {
            for address in addresses {
                assert_eq!(full_match(&text, address), expect, "{address} in {network}/{bits}");
            }
        }
    };
    check("0.0.0.0", 0, &["1.2.3.4", "255.255.255.255"], &["fd00::1", ""]);
    check("10.0.0.0", 8, &["10.0.0.0", "10.255.255.255"], &["11.0.0.1", "110.0.0.1", "1.10.0.0"]);
    check("172.16.0.0", 12, &["172.16.0.1", "172.31.255.255"], &["172.15.0.1", "172.32.0.1"]);
    check("192.0.2.7", 32, &["192.0.2.7"], &["192.0.2.70", "192.0.2.6", "192a0.2.7"]);
    check("10.0.0.9", 31, &["10.0.0.8", "10.0.0.9"], &["10.0.0.7", "10.0.0.10"]);
    check("10.0.128.0", 17, &["10.0.128.1", "10.0.255.9"], &["10.0.127.1", "10.0.1.1"]);
    check("10.1.2.3", 7, &["10.0.0.1", "11.9.9.9"], &["9.0.0.1", "12.0.0.1"]);
    check("255.255.255.248", 29, &["255.255.255.248", "255.255.255.255"], &["255.255.255.247"]);
}

#[test]
fn every_range_of_an_octet() {
    for bits in 0..=8u32 {
        let size = 1u16 << (8 - bits);
        for first in (0..256).step_by(size.into()) {
            let (first, last) = (first as u8, (first + size - 1) as u8);
            let text = octets(first, last);
            for octet in 0..=255u8 {
                let expect = (first..=last).contains(&octet);
                assert_eq!(full_match(&text, &octet.to_string()), expect, "{octet}: {text}");
            }
        }
    }
}
