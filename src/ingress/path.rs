//! Paths of rules (semantics.md 4.6, faults.md F12).
//!
//! Envoy normalises a request's path before it matches (faults.md S12): dot segments are
//! resolved, slashes merged, escaped slashes unescaped. A path that no normalised request can
//! have is refused, so that what the author reads is what is matched.

use crate::{
    diag::Reason,
    ingress::annotation::Template,
    model::{PathMatch, Regex, RegexError, Rewrite},
    store::PathType,
};

/// How the Ingress's annotations change its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathMode {
    /// `pathType` decides.
    Literal,
    /// Paths are expressions, whatever their `pathType`.
    Regex(Extent),
    /// `pathType` decides, and what is neither exact nor a prefix is a pattern (semantics.md 2.4).
    Pattern,
    /// What is not exact is an expression of the path's beginning that ignores case (2.4).
    Folded,
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
    let literal = |kind| {
        literal(text, kind).map_err(|problem| (Reason::InvalidPath, format!("{text:?} {problem}")))
    };
    let refused = |error| (Reason::InvalidRegex, format!("{text:?} is refused: {error}"));
    match (mode, kind) {
        (PathMode::Literal, _) => literal(kind),
        (PathMode::Regex(extent), _) => regex(text, extent).map_err(refused),
        (PathMode::Pattern | PathMode::Folded, PathType::Exact) if text.contains('*') => {
            let message = format!("{text:?} contains `*`, and an exact path is no pattern");
            Err((Reason::InvalidPath, message))
        }
        (PathMode::Pattern | PathMode::Folded, PathType::Exact)
        | (PathMode::Pattern, PathType::Prefix) => literal(kind),
        (PathMode::Pattern, PathType::ImplementationSpecific | PathType::Unset) => pattern(text),
        (
            PathMode::Folded,
            PathType::Prefix | PathType::ImplementationSpecific | PathType::Unset,
        ) => folded(text).map_err(refused),
    }
}

/// What the whole path of a matched request becomes.
///
/// # Errors
/// The template names a group that the path does not have.
pub(super) fn rewrite(path: &PathMatch, template: &Template) -> Result<Rewrite, String> {
    let pattern = match path {
        PathMatch::Regex(regex) => Regex::new(&format!("^(?:{})$", regex.as_str())),
        PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Any => Regex::new("^.*$"),
    };
    let pattern = pattern.map_err(|error| format!("the path cannot be rewritten: {error}"))?;
    if usize::from(template.n_groups) > pattern.n_groups() {
        return Err(format!("the path has no group {}", template.n_groups));
    }
    Ok(Rewrite { pattern, substitution: template.substitution.clone() })
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

/// `(?i)` before the author's own, whose groups keep their numbers.
fn folded(text: &str) -> Result<Path, RegexError> {
    Regex::new(text)?;
    let matcher = Regex::new(&format!("(?i)(?:{text}).*"))?;
    Ok(Path { matcher: PathMatch::Regex(matcher), length: text.len() })
}

/// `*` stands for any text, `?` for one character.
fn pattern(text: &str) -> Result<Path, Refusal> {
    let refused = |problem| (Reason::InvalidPath, format!("{text:?} {problem}"));
    check_literal(&text.replace('?', "*")).map_err(refused)?;
    let matcher = match text {
        "/*" => PathMatch::Any,
        text if text.contains(['*', '?']) => {
            let parts = text.split_inclusive(['*', '?']).map(|part| {
                let wild = [("*", ".*"), ("?", ".")];
                let found = wild.iter().find_map(|(c, re)| Some((part.strip_suffix(c)?, *re)));
                let (literal, wild) = found.unwrap_or((part, ""));
                regex_syntax::escape(literal) + wild
            });
            let error = |error| refused(format!("is refused: {error}"));
            PathMatch::Regex(Regex::new(&parts.collect::<String>()).map_err(error)?)
        }
        text => PathMatch::Exact(text.into()),
    };
    Ok(Path { matcher, length: text.len() })
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
