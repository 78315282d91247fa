//! Paths of rules (semantics.md 4.6, faults.md F12).
//!
//! Envoy normalises a request's path before it matches (faults.md S12): dot segments are
//! resolved, slashes merged, escaped slashes unescaped. A path that no normalised request can
//! have is refused, so that what the author reads is what is matched.

use crate::{
    diag::Reason,
    model::{PathMatch, Regex, RegexError},
    store::PathType,
};

/// How the Ingress's annotations change its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathMode {
    /// `pathType` decides.
    Literal,
    /// Paths are expressions, whatever their `pathType`.
    Regex(Extent),
}

/// How much of the path an expression speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// `use-regex`: its beginning.
    Beginning,
    /// `full-path-regex`: all of it.
    Whole,
}

/// A path that can be matched, and its rank among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The match.
    pub(super) matcher: PathMatch,
    /// Bytes of the path as written, a prefix without its trailing slash: longer goes first.
    pub(super) length: usize,
}

/// Longest path: Envoy's own limit for all headers is 60 KiB, and no route needs more than this.
const MAX_PATH: usize = 4096;

/// Why a path is refused.
pub(super) type Refusal = (Reason, String);

/// The path of a rule.
///
/// # Errors
/// Says why it is refused.
pub(super) fn parse(text: Option<&str>, kind: PathType, mode: PathMode) -> Result<Path, Refusal> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("/");
    if text.len() > MAX_PATH {
        return Err((Reason::InvalidPath, format!("the path is longer than {MAX_PATH} bytes")));
    }
    match mode {
        PathMode::Literal => literal(text, kind)
            .map_err(|problem| (Reason::InvalidPath, format!("{text:?} {problem}"))),
        PathMode::Regex(extent) => regex(text, extent)
            .map_err(|error| (Reason::InvalidRegex, format!("{text:?} is refused: {error}"))),
    }
}

fn literal(text: &str, kind: PathType) -> Result<Path, String> {
    let text = match kind {
        // Only older manifests lack the type; these spelled a prefix so (semantics.md 4.6).
        PathType::Unset => text.strip_suffix(".*").or(text.strip_suffix("/*")).unwrap_or(text),
        PathType::Exact | PathType::Prefix | PathType::ImplementationSpecific => text,
    };
    let text = if text.is_empty() { "/" } else { text };
    check_literal(text)?;
    let matcher = match kind {
        PathType::Exact => PathMatch::Exact(text.into()),
        PathType::Prefix | PathType::ImplementationSpecific | PathType::Unset => {
            match text.strip_suffix('/').unwrap_or(text) {
                "" => PathMatch::Any,
                prefix => PathMatch::Prefix(prefix.into()),
            }
        }
    };
    let length = match &matcher {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.len(),
        PathMatch::Regex(_) | PathMatch::Any => text.len(),
    };
    Ok(Path { matcher, length })
}

fn regex(text: &str, extent: Extent) -> Result<Path, RegexError> {
    // By itself first: `a)(b` would become legal inside the group.
    let whole = Regex::new(text)?;
    let matcher = match extent {
        // The group keeps a `|` of the author's inside the prefix.
        Extent::Beginning => Regex::new(&format!("(?:{text}).*"))?,
        Extent::Whole => whole,
    };
    Ok(Path { matcher: PathMatch::Regex(matcher), length: text.len() })
}

/// Refuses what a normalised request's path never contains.
fn check_literal(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("does not begin with `/`".into());
    }
    if text.contains("//") {
        return Err("contains `//`, and requests arrive with slashes merged".into());
    }
    if let Some(odd) = text.chars().find(|c| !is_path_char(*c)) {
        return Err(match odd {
            '?' | '#' => format!("contains `{odd}`, which is not part of a path"),
            '[' | ']' | '{' | '}' | '^' | '|' | '\\' => {
                format!("contains `{odd}`: percent-encode it, or set `use-regex`")
            }
            odd => format!("contains {odd:?}, which requests carry percent-encoded"),
        });
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("contains a dot segment, and requests arrive with these resolved".into());
    }
    check_escapes(text)
}

/// RFC 3986 `pchar`, `/` and the `%` of an escape.
fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c)
}

fn check_escapes(text: &str) -> Result<(), String> {
    for escaped in text.split('%').skip(1) {
        let hex = escaped.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.map(char::from) {
            None => return Err("contains `%` without two hexadecimal digits".into()),
            Some(c @ ('/' | '\\' | '\0')) => {
                return Err(format!("contains an escaped {c:?}, which requests cannot carry"));
            }
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                return Err(format!("escapes `{c}`, which requests carry as it is"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
