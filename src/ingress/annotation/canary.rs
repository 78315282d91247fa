//! `canary`, `canary-by-…`, `canary-weight…`: whose traffic a canary takes (semantics.md 3.1, 4.2).
//!
//! Decided per Ingress: header and query if either is set, else cookie, else weight. A condition
//! that cannot be matched leaves the canary without traffic, never with more than it asked for.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    diag::{Diag, Reason},
    ingress::{
        annotation::{Annotations, value},
        row::Role,
    },
    model::{Condition, Regex, ValueMatch},
};

/// A condition that is only named is met by this value…
const ALWAYS: &str = "always";
/// …and this one sends the request past every other canary to the main (semantics.md 4.4).
const NEVER: &str = "never";

/// Whose traffic a canary takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Requests with certain headers and query parameters.
    Requests(Choice),
    /// Requests with a certain cookie.
    Cookies(Choice),
    /// A share of the requests that no condition decides.
    Weighted(Share),
    /// Nobody's: its condition is invalid.
    Inactive,
}

/// Requests that a canary takes, and those that it sends to the main.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The canary's, if all hold. Never empty.
    pub when: Vec<Condition>,
    /// The main's, if any holds.
    pub never: Vec<Condition>,
}

/// A share of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Zero takes nothing.
    pub weight: u32,
    /// What the weights of the rule are relative to, if this is its oldest weighted canary;
    /// `None` is 100.
    pub total: Option<NonZeroU32>,
}

/// Reads them. The annotations of a canary count only in a canary.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Role {
    if !annotations.flag("canary", diags) {
        return Role::Main;
    }
    Role::Canary(canary(annotations, diags).unwrap_or_else(|diag| {
        diags.push(diag);
        Canary::Inactive
    }))
}

/// # Errors
/// The condition that cannot be matched.
fn canary(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Result<Canary, Diag> {
    let (header, query) = (HEADER.read(annotations)?, QUERY.read(annotations)?);
    if let Some(both) = merge(header, query) {
        return Ok(Canary::Requests(both));
    }
    if let Some(cookie) = cookie(annotations)? {
        return Ok(Canary::Cookies(cookie));
    }
    let number = |text: &str| {
        text.parse().map_err(|_| format!("{} is not a whole number", value::quote(text)))
    };
    let positive = |text: &str| {
        text.parse().map_err(|_| format!("{} is not a whole number above 0", value::quote(text)))
    };
    Ok(Canary::Weighted(Share {
        weight: annotations.read("canary-weight", number, diags).unwrap_or(0),
        total: annotations.read("canary-weight-total", positive, diags),
    }))
}

/// Both must hold; either may say never.
fn merge(header: Option<Choice>, query: Option<Choice>) -> Option<Choice> {
    let mut parts = header.into_iter().chain(query);
    let mut merged = parts.next()?;
    for part in parts {
        merged.when.extend(part.when);
        merged.never.extend(part.never);
    }
    Some(merged)
}

/// A condition with a name, and optionally a value or a pattern.
struct Criterion {
    name: &'static str,
    value: &'static str,
    pattern: &'static str,
    what: &'static str,
    is_name: fn(&str) -> bool,
    is_value: fn(&str) -> bool,
    condition: fn(&str, ValueMatch) -> Condition,
}

const HEADER: Criterion = Criterion {
    name: "canary-by-header",
    value: "canary-by-header-value",
    pattern: "canary-by-header-pattern",
    what: "a header",
    is_name: value::is_token,
    is_value: value::is_header_value,
    condition: |name, value| Condition::Header(name.to_ascii_lowercase().into(), value),
};

const QUERY: Criterion = Criterion {
    name: "canary-by-query",
    value: "canary-by-query-value",
    pattern: "canary-by-query-pattern",
    what: "a query parameter",
    is_name: value::is_query_name,
    is_value: value::is_query_text,
    condition: |name, value| Condition::Query(name.into(), value),
};

impl Criterion {
    /// The value beats the pattern; both are ignored without a name.
    fn read(&self, annotations: &Annotations<'_>) -> Result<Option<Choice>, Diag> {
        let Some(name) = annotations.get(self.name) else { return Ok(None) };
        if !(self.is_name)(name.value) {
            return Err(name.refused(&format!("is not the name of {}", self.what)));
        }
        let condition = |value| (self.condition)(name.value, value);
        if let Some(value) = annotations.get(self.value) {
            if !(self.is_value)(value.value) {
                return Err(value.refused(&format!("is not the value of {}", self.what)));
            }
            let when = vec![condition(exactly_or_always(value.value))];
            return Ok(Some(Choice { when, never: Vec::new() }));
        }
        if let Some(pattern) = annotations.get(self.pattern) {
            let regex = Regex::new(pattern.value)
                .map_err(|error| pattern.refused(&format!("is refused: {error}")))?;
            let when = vec![condition(ValueMatch::Contains(regex))];
            return Ok(Some(Choice { when, never: Vec::new() }));
        }
        Ok(Some(Choice {
            when: vec![condition(ValueMatch::Exact(ALWAYS.into()))],
            never: vec![condition(ValueMatch::Exact(NEVER.into()))],
        }))
    }
}

/// Exactly the value; the literal `always` is also accepted (semantics.md 10, A8).
fn exactly_or_always(value: &str) -> ValueMatch {
    match value {
        ALWAYS => ValueMatch::Exact(ALWAYS.into()),
        value => ValueMatch::OneOf(vec![value.into(), ALWAYS.into()]),
    }
}

/// Unlike the other two, a cookie with a value does not accept `always` (semantics.md 9, row 71).
fn cookie(annotations: &Annotations<'_>) -> Result<Option<Choice>, Diag> {
    let Some(entry) = annotations.get("canary-by-cookie") else { return Ok(None) };
    if !value::is_token(entry.value) {
        return Err(entry.refused("is not the name of a cookie"));
    }
    let condition = |value: &str| Condition::Cookie(Arc::from(entry.value), value.into());
    let Some(value) = annotations.get("canary-by-cookie-value") else {
        let (when, never) = (vec![condition(ALWAYS)], vec![condition(NEVER)]);
        return Ok(Some(Choice { when, never }));
    };
    if !value::is_cookie_value(value.value) {
        return Err(value.refused("is not the value of a cookie"));
    }
    Ok(Some(Choice { when: vec![condition(value.value)], never: Vec::new() }))
}

impl super::Entry<'_> {
    fn refused(&self, problem: &str) -> Diag {
        let message = format!("{} {problem}; the canary gets no traffic", value::quote(self.value));
        Diag::error(&self.at, Reason::InvalidAnnotation, message)
    }
}

#[cfg(test)]
mod tests;
