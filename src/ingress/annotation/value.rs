//! The grammars that several annotations share.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

/// Longest text that reaches a matcher (faults.md F3).
const MAX_TEXT: usize = 4096;

/// A boolean as Go's `strconv.ParseBool` reads it, which is what manifests are written for.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{} is neither true nor false", quote(other))),
    }
}

/// A number of seconds; zero is no limit.
pub(super) fn seconds(text: &str) -> Result<Option<Duration>, String> {
    let seconds: u32 =
        text.parse().map_err(|_| format!("{} is not a whole number of seconds", quote(text)))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

/// A whole number in a range, in digits alone: `parse` would take a sign.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("{} is not a whole number from {} to {}", quote(text), range.start(), range.end())
    })
}

/// RFC 9110 `token`: the name of a header or of a cookie.
pub(super) fn is_token(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(legal)
}

/// A value that a header can have: no control characters (faults.md F18).
pub(super) fn is_header_value(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// A value that a cookie can have: visible ASCII, without what separates cookies.
pub(super) fn is_cookie_value(text: &str) -> bool {
    text.len() <= MAX_TEXT && text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
}

/// Text that a query parameter's name or value can be, as a request carries it.
pub(super) fn is_query_text(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'&' | b'#');
    text.len() <= MAX_TEXT && text.bytes().all(legal)
}

/// The name of a query parameter that Envoy can be told of: it refuses a table with a longer one.
pub(super) fn is_query_name(text: &str) -> bool {
    const MAX: usize = 1024;
    (1..=MAX).contains(&text.len()) && is_query_text(text) && !text.contains('=')
}

/// The value in a message: quoted, escaped and, since an annotation may be huge, cut.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 64;
    let cut: String = text.chars().take(SHOWN).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_as_go_reads_them() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["yes", "tRUE", "on", "2"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_whole() {
        for (text, expect) in
            [("5", Some(Some(5))), ("0", Some(None)), ("-1", None), ("1.5", None), ("abc", None)]
        {
            let expect = expect.map(|limit| limit.map(Duration::from_secs));
            assert_eq!(seconds(text).ok(), expect, "{text}");
        }
    }

    #[test]
    fn texts_that_no_request_can_carry() {
        for (text, token, header, cookie, query) in [
            ("x-canary_1", true, true, true, true),
            ("a b", false, true, false, false),
            ("a;b", false, true, false, true),
            ("a&b", true, true, true, false),
            ("a\r\nb", false, false, false, false),
            ("a\0", false, false, false, false),
            ("é", false, true, false, false),
            (":path", false, true, true, true),
        ] {
            let found =
                (is_token(text), is_header_value(text), is_cookie_value(text), is_query_text(text));
            assert_eq!(found, (token, header, cookie, query), "{text:?}");
        }
        assert!(is_query_name(&"a".repeat(1024)) && !is_query_name(&"a".repeat(1025)));
        assert!(!is_query_name("") && !is_query_name("a=b"));
        let long = "a".repeat(MAX_TEXT + 1);
        assert!(!is_token(&long) && !is_header_value(&long));
        assert!(!is_cookie_value(&long) && !is_query_text(&long));
        assert!(!is_token(""));
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(quote(&"é".repeat(65)), format!("\"{}\"…", "é".repeat(64)));
    }
}
