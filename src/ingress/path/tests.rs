use super::*;
use PathMode::Literal;
use PathType::{Exact, ImplementationSpecific, Prefix, Unset};

const BEGINNING: PathMode = PathMode::Regex(Extent::Beginning);
const WHOLE: PathMode = PathMode::Regex(Extent::Whole);

fn show(text: Option<&str>, kind: PathType, mode: PathMode) -> String {
    match parse(text, kind, mode) {
        Ok(Path { matcher: PathMatch::Exact(path), length }) => format!("exact {path} {length}"),
        Ok(Path { matcher: PathMatch::Prefix(path), length }) => format!("prefix {path} {length}"),
        Ok(Path { matcher: PathMatch::Regex(regex), length }) => {
            format!("regex {} {length}", regex.as_str())
        }
        Ok(Path { matcher: PathMatch::Any, length }) => format!("any {length}"),
        Err((reason, message)) => format!("{reason}: {message}"),
    }
}

#[test]
fn kinds_of_path() {
    for (text, kind, mode, expect) in [
        (Some("/"), Prefix, Literal, "any 1"),
        (Some(""), Prefix, Literal, "any 1"),
        (None, ImplementationSpecific, Literal, "any 1"),
        (None, Unset, Literal, "any 1"),
        (Some("/"), Exact, Literal, "exact / 1"),
        (Some("/foo"), Exact, Literal, "exact /foo 4"),
        (Some("/foo/"), Exact, Literal, "exact /foo/ 5"),
        (Some("/foo"), Prefix, Literal, "prefix /foo 4"),
        (Some("/foo/"), Prefix, Literal, "prefix /foo 4"),
        (Some("/Foo"), Prefix, Literal, "prefix /Foo 4"),
        (Some("/foo"), ImplementationSpecific, Literal, "prefix /foo 4"),
        (Some("/foo/*"), ImplementationSpecific, Literal, "prefix /foo/* 6"),
        (Some("/foo/*"), Unset, Literal, "prefix /foo 4"),
        (Some("/foo.*"), Unset, Literal, "prefix /foo 4"),
        (Some("/*"), Unset, Literal, "any 1"),
        (Some("/a%20b"), Exact, Literal, "exact /a%20b 6"),
        (Some("/a(b)*"), Prefix, Literal, "prefix /a(b)* 6"),
        (Some("/foo/[A-Z]{3}"), Prefix, BEGINNING, "regex (?:/foo/[A-Z]{3}).* 13"),
        (Some("/a|/b"), Exact, BEGINNING, "regex (?:/a|/b).* 5"),
        (Some("/bar/[0-9]"), Prefix, WHOLE, "regex /bar/[0-9] 10"),
    ] {
        assert_eq!(show(text, kind, mode), expect, "{text:?} {kind:?} {mode:?}");
    }
}

#[test]
fn fault_f12_paths_that_no_request_can_have_are_refused() {
    for (text, expect) in [
        ("foo", "does not begin with `/`"),
        ("*", "does not begin with `/`"),
        ("//", "contains `//`, and requests arrive with slashes merged"),
        ("/a//b", "contains `//`, and requests arrive with slashes merged"),
        ("/a?b", "contains `?`, which is not part of a path"),
        ("/a#b", "contains `#`, which is not part of a path"),
        ("/a b", "contains ' ', which requests carry percent-encoded"),
        ("/a\r\nb", "contains '\\r', which requests carry percent-encoded"),
        ("/a\0", "contains '\\0', which requests carry percent-encoded"),
        ("/café", "contains 'é', which requests carry percent-encoded"),
        ("/a[0-9]", "contains `[`: percent-encode it, or set `use-regex`"),
        ("/a\\b", "contains `\\`: percent-encode it, or set `use-regex`"),
        ("/a/../b", "contains a dot segment, and requests arrive with these resolved"),
        ("/a/.", "contains a dot segment, and requests arrive with these resolved"),
        ("/%2e%2e/b", "escapes `.`, which requests carry as it is"),
        ("/%41", "escapes `A`, which requests carry as it is"),
        ("/%00", "contains an escaped '\\0', which requests cannot carry"),
        ("/a%2Fb", "contains an escaped '/', which requests cannot carry"),
        ("/a%5cb", "contains an escaped '\\\\', which requests cannot carry"),
        ("/a%", "contains `%` without two hexadecimal digits"),
        ("/a%g0", "contains `%` without two hexadecimal digits"),
    ] {
        let expect = format!("InvalidPath: {text:?} {expect}");
        assert_eq!(show(Some(text), Prefix, Literal), expect, "{text:?}");
        assert_eq!(show(Some(text), Exact, Literal), expect, "{text:?}");
    }
    let long = format!("/{}", "a".repeat(MAX_PATH));
    assert!(show(Some(&long), Exact, Literal).starts_with("InvalidPath"));
}

#[test]
fn expressions_are_checked_before_they_are_wrapped() {
    for text in ["/a)(b", "/(", "/*[", "/(?=x)"] {
        for mode in [BEGINNING, WHOLE] {
            let shown = show(Some(text), Prefix, mode);
            assert!(shown.starts_with("InvalidRegex: "), "{text} {mode:?}: {shown}");
        }
    }
}
